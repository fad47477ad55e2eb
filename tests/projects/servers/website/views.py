"""A page, the number of the process that serves, and a response that takes three seconds."""

import asyncio
import os
import time

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse

LINES = 30
PAUSE = 0.1


def page(request):
    return HttpResponse("<title>It works</title>")


def process(request):
    return HttpResponse(str(os.getpid()), content_type="text/plain")


def stream(request):
    lines = asynchronous() if isinstance(request, ASGIRequest) else synchronous()
    return StreamingHttpResponse(lines, content_type="text/plain")


def synchronous():
    for number in range(LINES):
        yield f"line {number}\n"
        time.sleep(PAUSE)
    yield "end\n"


async def asynchronous():
    for number in range(LINES):
        yield f"line {number}\n"
        await asyncio.sleep(PAUSE)
    yield "end\n"
