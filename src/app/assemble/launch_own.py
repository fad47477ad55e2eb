# Written by warpdrive at build: starts what has only a function for serving, on 0.0.0.0 and $PORT,
# without reload. Arguments: the framework, then module:object or a program.
import asyncio
import importlib
import inspect
import os
import runpy
import sys

HOST = '0.0.0.0'
PORT = int(os.environ.get('PORT', '8080'))


def target(reference):
    module, _, name = reference.partition(':')
    found = importlib.import_module(module)
    for part in name.split('.'):
        found = getattr(found, part)
    return found


def program(path):
    sys.argv = [path] + sys.argv[3:]
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    runpy.run_path(path, run_name='__main__')


def aiohttp(reference):
    from aiohttp import web
    if ':' not in reference:
        # Only the first one: others are on ports of their own.
        first = [True]
        site = web.TCPSite.__init__

        def at(self, runner, host=None, port=None, *args, **kwargs):
            if first:
                first.clear()
                host, port = HOST, PORT
            site(self, runner, host, port, *args, **kwargs)

        def change(kwargs):
            if not first:
                return
            for name in ('path', 'sock', 'unix_socket'):
                kwargs.pop(name, None)
            kwargs.update(host=HOST, port=PORT)

        web.TCPSite.__init__ = at
        web.run_app = with_changed(web.run_app, change)
        program(reference)
        return
    made = target(reference)
    if not isinstance(made, web.Application):
        made = made()
    web.run_app(made, host=HOST, port=PORT)


def tornado(reference):
    from tornado import tcpserver, web
    if ':' not in reference:
        first = [True]

        def at(method):
            def listen(self, port, address='', *args, **kwargs):
                if first:
                    first.clear()
                    port, address = PORT, HOST
                return method(self, port, address, *args, **kwargs)
            return listen

        tcpserver.TCPServer.listen = at(tcpserver.TCPServer.listen)
        tcpserver.TCPServer.bind = at(tcpserver.TCPServer.bind)
        program(reference)
        return

    async def main():
        made = target(reference)
        if not isinstance(made, web.Application):
            made = made()
        if inspect.isawaitable(made):
            made = await made
        server = made.listen(PORT, HOST)
        import signal
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()
        server.stop()
        await server.close_all_connections()

    asyncio.run(main())


def with_changed(function, change):
    def changed(*args, **kwargs):
        change(kwargs)
        return function(*args, **kwargs)
    return changed


def nicegui(path):
    from nicegui import ui

    def change(kwargs):
        kwargs.update(host=HOST, port=PORT, reload=False, show=False)
        kwargs.pop('native', None)

    ui.run = with_changed(ui.run, change)
    program(path)


def gradio(path):
    from gradio import Blocks

    def change(kwargs):
        kwargs.update(server_name=HOST, server_port=PORT)

    Blocks.launch = with_changed(Blocks.launch, change)
    program(path)


def bottle(path):
    import bottle

    def change(kwargs):
        kwargs.update(host=HOST, port=PORT, reloader=False, debug=False)

    bottle.run = with_changed(bottle.run, change)
    bottle.Bottle.run = lambda self, **kwargs: bottle.run(self, **kwargs)
    program(path)


def cherrypy(path):
    import cherrypy

    # Before the engine opens the port, after the program has said what it likes.
    def listen():
        cherrypy.config.update({'engine.autoreload.on': False})
        cherrypy.server.socket_host = HOST
        cherrypy.server.socket_port = PORT

    cherrypy.engine.subscribe('start', listen, priority=1)
    program(path)


if __name__ == '__main__':
    {
        'aiohttp': aiohttp,
        'tornado': tornado,
        'nicegui': nicegui,
        'gradio': gradio,
        'bottle': bottle,
        'cherrypy': cherrypy,
    }[sys.argv[1]](sys.argv[2])
