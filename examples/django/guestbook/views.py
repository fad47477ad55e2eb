from django.db import OperationalError
from django.forms import ModelForm
from django.shortcuts import redirect, render

from .models import Entry


class EntryForm(ModelForm):
    class Meta:
        model = Entry
        fields = ["text"]


def index(request):
    form = EntryForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect("/")
    try:
        entries = list(Entry.objects.all()[:20])
    except OperationalError:  # before `migrate`
        entries = None
    return render(request, "guestbook/index.html", {"form": form, "entries": entries})
