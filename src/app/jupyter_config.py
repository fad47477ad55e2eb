# Written by warpdrive at build. Who may come in is said by the environment:
#   JUPYTER_TOKEN, JUPYTER_TOKEN_FILE         a token, for links and for programs
#   JUPYTER_PASSWORD, JUPYTER_PASSWORD_FILE   a password, in the clear or hashed (argon2:…, sha1:…)
# Without any of these Jupyter makes up a token and prints it to the log.
import os


def said(name):
    value = os.environ.pop(name, '')
    path = os.environ.get(name + '_FILE', '')
    if not value and path:
        with open(path) as file:
            value = file.read().strip()
    return value


password = said('JUPYTER_PASSWORD')
if password:
    from jupyter_server.auth import passwd

    known = password.split(':', 1)[0] in ('argon2', 'sha1', 'sha256', 'sha512') and password.count(':') >= 1
    c.PasswordIdentityProvider.hashed_password = password if known else passwd(password)

token = os.environ.get('JUPYTER_TOKEN', '') or said('JUPYTER_TOKEN')
if token:
    c.IdentityProvider.token = token

# `/api` tells the release to anybody: not here.
try:
    from jupyter_server.base.handlers import APIVersionHandler
    from tornado.web import authenticated

    APIVersionHandler.get = authenticated(APIVersionHandler.get)
except (ImportError, AttributeError):
    pass
