"""Which calls does the page's server answer? It refuses those that cannot mean anything, and draws for nobody who left.

A client asks by `queue/join`, as the page does, or by `call/NAME`, and then listens to `queue/data` or
`call/NAME/EVENT`. Gradio takes requests out of its queue whose listener has gone, but not those that never had one.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import gradio as gr
from fastapi import Depends, HTTPException, Request
from gradio.context import LocalContext
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

GRACE = 5  # seconds that a client has to begin to listen
ASKED = "stackgan_keras.asked"  # in a request's scope: the time it came, in seconds
CALLS = re.compile(r".*/(?:queue/join|(run|api|call|call/v2)/[^/]+)/?")
LISTENING = re.compile(r".*/call/(?:v2/)?[^/]+/([^/]+)")


class Listeners:
    """Who listens to the server's answers, by session or by event."""

    def __init__(self) -> None:
        self.open: Counter[str] = Counter()

    def app_kwargs(self) -> dict[str, Any]:
        """What the server's app takes beside gradio's own: this, and the check of every call."""
        return {"middleware": [Middleware(self._around)], "dependencies": [Depends(check_call)]}

    def check_awaited(self) -> None:
        """Raises `gr.Error` where nobody listens to what is about to be made, nor has only just asked for it."""
        asked = LocalContext.request.get(None)
        if asked is None or asked.request is None:  # not through the server
            return
        awaited = {asked.session_hash, LocalContext.event_id.get(None)} & self.open.keys()
        if not awaited and time.monotonic() - asked.request.scope[ASKED] > GRACE:
            sentence = f"nobody listened for {GRACE} seconds, so nothing was drawn: ask again, and listen at once"
            raise gr.Error(sentence, print_exception=False)

    def _around(self, app: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            scope[ASKED] = time.monotonic()
            name = _listener(scope)
            if name is None:
                await app(scope, receive, send)
                return
            self.open[name] += 1
            try:
                await app(scope, receive, send)
            finally:
                self.open -= Counter({name: 1})  # forgets those at 0

        return counted


def _listener(scope: Scope) -> str | None:
    """The session or event that a request listens to; None for another request."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    if scope["path"].endswith("/queue/data"):
        return parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [None])[0]
    found = LISTENING.fullmatch(scope["path"])
    return found[1] if found else None


async def check_call(request: Request) -> None:
    """Raises `HTTPException` with a sentence for a call of no function of the page, of other values, or with files.

    Also for whoever listens to what nobody asked.
    """
    if asked := _listener(request.scope):
        _check_asked(asked, request.app.get_blocks())
    found = CALLS.fullmatch(request.url.path)
    if request.method != "POST" or not found:
        return
    if found[1] in ("run", "api"):  # past the queue, all at once
        raise HTTPException(404, "the page answers by its queue alone: POST to call/NAME, then GET call/NAME/EVENT_ID")
    try:
        body = await request.json()
    except ValueError:
        return  # FastAPI says what is wrong, as with what is no object
    if not isinstance(body, dict):
        return
    if any("path" in each and "meta" in each for each in _objects(body)):
        raise HTTPException(400, "the page takes no files: give text, numbers, true and false")
    blocks, name, number = request.app.get_blocks(), request.path_params.get("api_name"), body.get("fn_index")
    functions = {fn.api_name: fn for fn in blocks.fns.values() if fn.api_visibility == "public"}
    fn = functions.get(name) if name else blocks.fns.get(number) if isinstance(number, int) else None
    if fn is None:
        asked = f"called {name[:40]!r}" if name else f"of fn_index {str(number)[:40]}"
        raise HTTPException(404, f"the page has no function {asked}: call one of {', '.join(functions)}")
    if found[1] == "call/v2":
        _check_named(body, blocks.get_api_info()["named_endpoints"][f"/{name}"]["parameters"])
        return
    given, takes = body.get("data"), {len(fn.inputs)}
    if name:  # states may be left out
        takes.add(sum(not block.skip_api for block in fn.inputs))
    if isinstance(given, list) and len(given) not in takes:
        raise HTTPException(400, f"{fn.api_name} takes {min(takes)} values, not {len(given)}: give as many")


def _check_asked(name: str, blocks: gr.Blocks) -> None:
    queue = blocks._queue
    known = (queue.pending_messages_per_session, queue.event_ids_to_events, *queue.pending_event_ids_session.values())
    if not any(name in names for names in known):
        raise HTTPException(404, f"nothing was asked by {name[:40]!r}, or it is gone: ask first, and listen once")


def _check_named(given: dict, parameters: list[dict[str, Any]]) -> None:
    names = [each["parameter_name"] for each in parameters]
    needed = {each["parameter_name"] for each in parameters if not each["parameter_has_default"]}
    if not needed <= given.keys() <= {*names}:
        found = ", ".join(map(str, given))[:80] or "nothing"
        raise HTTPException(400, f"values called {found} were given: give {', '.join(names)}")


def _objects(value: Any) -> Iterator[dict]:
    """All objects of JSON in a value."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(each)
