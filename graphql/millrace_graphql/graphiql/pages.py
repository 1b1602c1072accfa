"""GraphiQL's page and files. ``static/`` is built by scripts/graphiql from the npm package; nothing is fetched from elsewhere."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        # Monaco positions its lines with inline styles and style elements.
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Millrace GraphiQL</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/graphiql/static/graphiql.css">
</head>
<body>
<div id="graphiql">Loading GraphiQL</div>
<script type="module" src="/graphiql/static/graphiql.js"></script>
</body>
</html>
"""
_MISSING = (
    "<!doctype html><title>GraphiQL</title><p>GraphiQL is not built here: run <code>make graphiql</code> and load this page again.</p>"
)


async def page(request: Request) -> Response:
    """The page; one line that says what to do where its files are not built."""
    built = (STATIC / "graphiql.js").is_file()
    return HTMLResponse(_PAGE if built else _MISSING, 200 if built else 503, HEADERS)


async def static(request: Request) -> Response:
    """One built file."""
    name = request.path_params["name"]
    path = STATIC / name
    if path.parent != STATIC or not path.is_file():
        return Response("not found", 404, HEADERS)
    media = {".js": "text/javascript", ".css": "text/css", ".ttf": "font/ttf"}.get(path.suffix)
    return FileResponse(path, headers=HEADERS, media_type=media)


def routes() -> list[Route]:
    """The page and its files."""
    return [Route("/graphiql", page), Route("/graphiql/static/{name}", static)]
