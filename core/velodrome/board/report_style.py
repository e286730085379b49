"""The look of a report, in light and dark. Drawings take their colours from here."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --paper: light-dark(#fff, #11151c); --ink: light-dark(#1a2230, #e5e9f0);
  --soft: light-dark(#566070, #a6b0bf); --edge: light-dark(#dde2ea, #2c3542); --strong: light-dark(#1d5fc4, #7fb0ff);
  --quiet: light-dark(#747f8f, #96a1b1); }
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 940px; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 2rem; margin: 0; } h2 { margin: 2.4rem 0 0.4rem; } h3 { margin: 1.2rem 0 0.3rem; }
p { margin: 0.3rem 0; overflow-wrap: anywhere; }
.lead { font-weight: 600; } .quiet { color: var(--soft); font-size: 0.92rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 0.95rem; margin: 0.6rem 0; }
th, td { text-align: left; padding: 0.35rem 0.7rem 0.35rem 0; border-bottom: 1px solid var(--edge); }
th { font-size: 0.85rem; color: var(--soft); } td { font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; margin: 0.6rem 0; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1rem 1rem; font-size: 0.92rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; font-size: 0.85rem; border: 1px solid var(--edge); border-radius: 6px; padding: 0.8rem; }
"""
