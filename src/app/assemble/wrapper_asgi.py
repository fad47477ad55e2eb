# Written by warpdrive at build: static files in front of the application, with ETag and
# Last-Modified from each file's time and size. WhiteNoise knows the files; this speaks ASGI.
import asyncio
import functools
import importlib

from whitenoise import WhiteNoise

inner = getattr(importlib.import_module({module!r}), {object!r}){call}
static = WhiteNoise(None)
{maps}

BLOCK = 256 * 1024


async def application(scope, receive, send):
    if scope['type'] != 'http':
        return await inner(scope, receive, send)
    path = scope['path']
    file = static.files.get(path)
    if file is None:
        return await inner(scope, receive, send)
    if scope['method'] not in ('GET', 'HEAD'):
        await send(dict(type='http.response.start', status=405, headers=[(b'allow', b'GET, HEAD')]))
        await send(dict(type='http.response.body', body=b''))
        return
    headers = dict()
    for name, value in scope['headers']:
        headers['HTTP_' + name.decode('latin-1').upper().replace('-', '_')] = value.decode('latin-1')
    run = functools.partial(asyncio.get_running_loop().run_in_executor, None)
    response = await run(file.get_response, scope['method'], headers)
    await send(dict(
        type='http.response.start', status=int(response.status),
        headers=[(name.lower().encode('latin-1'), value.encode('latin-1')) for name, value in response.headers]))
    if response.file is not None:
        try:
            while True:
                block = await run(response.file.read, BLOCK)
                if not block:
                    break
                await send(dict(type='http.response.body', body=block, more_body=True))
        finally:
            response.file.close()
    await send(dict(type='http.response.body', body=b''))
