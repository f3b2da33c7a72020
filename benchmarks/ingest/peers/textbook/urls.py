"""The endpoint of the textbook peer: DRF and django-oauth-toolkit as their documentation shows them."""

from django.urls import path
from oauth2_provider.contrib.rest_framework import OAuth2Authentication, TokenHasScope
from rest_framework import generics, serializers
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer

from .models import Event


class EventSerializer(serializers.ModelSerializer):
    class Meta:
        model = Event
        exclude = ["source"]


class TaskWebhookView(generics.CreateAPIView):
    queryset = Event.objects.all()
    serializer_class = EventSerializer
    authentication_classes = [OAuth2Authentication]
    permission_classes = [TokenHasScope]
    required_scopes = ["tasks:webhook"]
    parser_classes = [JSONParser]
    renderer_classes = [JSONRenderer]

    def perform_create(self, serializer: EventSerializer) -> None:
        serializer.save(source=self.request.auth.application.name)


urlpatterns = [path("api/v1/tasks/webhook", TaskWebhookView.as_view())]
