from django.urls import path

from website import views

urlpatterns = [
    path("", views.page),
    path("stream", views.stream),
    path("process", views.process),
]
