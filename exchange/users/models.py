"""People who sign in."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person. Money and orders refer to the id only; a ledger account belongs to an owner id."""

    language = models.CharField(max_length=8, blank=True, default="")
    is_demo = models.BooleanField(default=False)
