# Written by warpdrive at build: static files in front of the application, with ETag and
# Last-Modified from each file's time and size.
import importlib

from whitenoise import WhiteNoise

application = getattr(importlib.import_module({module!r}), {object!r}){call}
application = WhiteNoise(application)
{maps}
