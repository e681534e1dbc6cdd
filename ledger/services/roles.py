"""Renews the groups of the finance roles after every migrate: what a role may do is said in `access.RIGHTS` alone."""

from django.contrib.auth.models import Group, Permission

from ledger.access import RIGHTS, Role


def renew(using: str) -> None:
    """Give each role's group exactly its rights among those of the ledger; other permissions are left alone."""
    rights = {
        permission.codename: permission
        for permission in Permission.objects.using(using).filter(
            content_type__app_label="ledger", codename__in={right for rights in RIGHTS.values() for right in rights}
        )
    }
    for role, wanted in RIGHTS.items():
        group, _ = Group.objects.using(using).get_or_create(name=role.value)
        group.permissions.remove(*(permission for name, permission in rights.items() if name not in wanted))
        group.permissions.add(*(rights[right] for right in wanted if right in rights))


def grant(user_id: int, role: Role) -> None:
    """Put a person into a role, beside those the person has."""
    Group.objects.get(name=role.value).user_set.add(user_id)
