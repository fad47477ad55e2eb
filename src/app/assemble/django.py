# Runs a project's own manage.py with collectstatic, in one start of Django that also tells what the
# plan needs. Arguments: manage.py, the file for the answer, STATIC_ROOT where the settings have
# none, whether to collect (`yes`; `all`: not without one of STATICFILES_DIRS).
import json
import os
import sys
import traceback

manage, answer, default_root, collect = sys.argv[1:5]
sys.path[0] = os.path.dirname(os.path.realpath(manage))


def tell(**what):
    with open(answer, 'w', encoding='utf-8') as file:
        json.dump(what, file)


def text(value):
    return None if value is None else str(value)


def fail(step, error):
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    here = os.path.abspath(__file__)
    tell(failed=step, type=type(error).__name__, message=str(error),
         name=getattr(error, 'name', None),
         traceback=[line for line in ''.join(lines).splitlines() if here not in line and '<frozen ' not in line])
    sys.exit(3)


def is_static(entry):
    """A project's own subclass of StaticFilesConfig."""
    if entry.startswith('django.') or not entry.rpartition('.')[2][:1].isupper():
        return False
    from django.apps import AppConfig
    try:
        return AppConfig.create(entry).name == 'django.contrib.staticfiles'
    except Exception:
        return False


def look(utility):
    from django.conf import settings
    try:
        installed = list(settings.INSTALLED_APPS)
        middleware = list(getattr(settings, 'MIDDLEWARE', None) or getattr(settings, 'MIDDLEWARE_CLASSES', None) or [])
        facts = {
            'settings_module': os.environ.get('DJANGO_SETTINGS_MODULE'),
            'wsgi_application': text(getattr(settings, 'WSGI_APPLICATION', None)),
            'asgi_application': text(getattr(settings, 'ASGI_APPLICATION', None)),
            'static_url': text(getattr(settings, 'STATIC_URL', None)),
            'static_root': text(getattr(settings, 'STATIC_ROOT', None)),
            'own_whitenoise': any('whitenoise' in str(name).lower() for name in middleware),
        }
        facts['has_staticfiles'] = any(
            name == 'django.contrib.staticfiles' or name.startswith('django.contrib.staticfiles.') for name in installed
        ) or any(is_static(name) for name in installed)
        missing = []
        for entry in getattr(settings, 'STATICFILES_DIRS', None) or ():
            path = entry[1] if isinstance(entry, (list, tuple)) else entry
            if not os.path.isdir(str(path)):
                missing.append(str(path))
        facts['missing_dirs'] = missing
    except Exception as error:
        fail('settings', error)
    facts['collected'] = False
    # Since release 4, Django leaves out a directory that is not there, with a warning.
    whole = not missing or collect == 'yes' and django.VERSION >= (4, 0)
    if collect != 'no' and facts['has_staticfiles'] and whole:
        if not facts['static_root']:
            settings.STATIC_ROOT = facts['static_root'] = default_root
        utility.argv = [utility.argv[0], 'collectstatic', '--noinput']
        try:
            execute(utility)
        except SystemExit as end:
            if end.code:
                tell(failed='collectstatic', type='SystemExit', message='', name=None, traceback=[])
                sys.exit(end.code if isinstance(end.code, int) else 1)
        except Exception as error:
            fail('collectstatic', error)
        facts['collected'] = True
    facts['static_root'] = facts['static_root'] and os.path.abspath(facts['static_root'])
    tell(facts=facts)
    sys.stdout.flush()
    os._exit(0)


try:
    import django
    from django.core import management
except ImportError as error:
    fail('import', error)
execute = management.ManagementUtility.execute
management.ManagementUtility.execute = look
sys.argv = [manage, 'collectstatic', '--noinput']
import runpy
try:
    runpy.run_path(manage, run_name='__main__')
except SystemExit as end:
    if not os.path.exists(answer):
        tell(failed='manage', type='SystemExit', message=str(end.code), name=None, traceback=[])
    sys.exit(end.code)
except BaseException as error:
    fail('manage', error)
tell(failed='manage', type='', message='manage.py ended without running a command', name=None, traceback=[])
sys.exit(3)
