from velodrome.api.jobs import read_jobs as read_jobs
from velodrome.api.racing import run as run
from velodrome.api.results import open_results as open_results
from velodrome.errors import VelodromeError as VelodromeError

__version__: str
