import os

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from opal.models import UserProfile


class Command(BaseCommand):
    help = "Makes the administrator that DJANGO_ADMIN_* describe, unless there is one"

    @transaction.atomic()
    def handle(self, *args, **options):
        username = os.environ.get('DJANGO_ADMIN_USERNAME')
        password = os.environ.get('DJANGO_ADMIN_PASSWORD')
        if not username or not password:
            raise CommandError('Set DJANGO_ADMIN_USERNAME and DJANGO_ADMIN_PASSWORD')
        if User.objects.filter(username=username).exists():
            self.stdout.write('%s is there already' % username)
            return
        user = User.objects.create_superuser(
            username, os.environ.get('DJANGO_ADMIN_EMAIL', ''), password
        )
        # Opal asks for a new password at the first login unless told otherwise.
        profile, _ = UserProfile.objects.get_or_create(user=user)
        profile.force_password_change = False
        profile.save()
        self.stdout.write('%s was made' % username)
