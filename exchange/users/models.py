"""People who sign in, and the demo funds they were given."""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from exchange.kernel.clock import utc_now
from ledger.services import accounts


class UserManager(DjangoUserManager["User"]):
    """Finds users whatever the case of the name they type."""

    use_in_migrations = False

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **fields: Any
    ) -> "User":
        """Make an administrator, for `manage.py createsuperuser`, with a gate: administrators trade like anyone."""
        with transaction.atomic():
            user = super().create_superuser(username, email, password, **fields)
            accounts.open_gates([user.pk])
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        """Return the user of a name, for every way of signing in."""
        return self.get(username=self.model.normalize_username(username or ""))


class User(AbstractUser):
    """A person. Money and orders refer to the id only; a ledger account belongs to an owner id.

    Names are kept in lower case, so that nobody can pass for another by a capital letter.
    """

    language = models.CharField(max_length=8, blank=True, default="")
    is_demo = models.BooleanField(default=False)
    password_changed_at = models.DateTimeField(_("password changed at"), null=True, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    @classmethod
    def normalize_username(cls, username: str) -> str:
        """Return a name in its one spelling."""
        return str(super().normalize_username(username)).lower()

    def set_password(self, raw_password: str | None) -> None:
        """Change the password and note when: who reviews a withdrawal wants to know.

        Every form and command of Django's changes it by this call; a hash that is only renewed at sign-in is not saved
        with this column, and so does not count.
        """
        super().set_password(raw_password)
        self.password_changed_at = utc_now()

    def clean(self) -> None:
        """Bring the name into its one spelling, also when an administrator types it."""
        super().clean()
        self.username = self.normalize_username(self.username)


class FaucetGrant(models.Model):
    """One helping of demo funds: makes a repeated request harmless and counts a day's helpings.

    `number` is dense within a user's day, so that two requests at once cannot both be the last.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    request_key = models.CharField(max_length=64)
    granted_date = models.DateField()
    number = models.PositiveSmallIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["user", "request_key"], name="faucet_grant_request_once"),
            models.UniqueConstraint(fields=["user", "granted_date", "number"], name="faucet_grant_numbered"),
        )

    def __str__(self) -> str:
        return f"{self.user_id} {self.granted_date} {self.number}"
