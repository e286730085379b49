"""What the cookie of Streamlit's sign-in says, for requests that are no page.

Streamlit gives pages the same as `st.user`, and has no public name for this. The signature is checked as there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from streamlit.auth_util import get_cookie_with_chunks
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

USER_COOKIE = USER_COOKIE_NAME


def claims_in(cookies: Mapping[str, str], secret: str) -> dict[str, object]:
    """The claims of the person whom the cookies name. Empty if they name nobody, or the signature is not ours."""

    def one(name: str) -> bytes | None:
        value = cookies.get(name)
        return None if value is None else decode_signed_value(secret, name, value.encode("latin-1", "replace"))

    try:
        text = get_cookie_with_chunks(one, USER_COOKIE)
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
