"""Who may ask for which secret, and where it is looked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from llmspell.errors import ConfigError, InvalidSecretRef, SecretDenied
from llmspell.security.secrets.access import SecretAccess
from llmspell.security.secrets.backend import EnvironmentBackend, SecretBackend
from llmspell.security.secrets.cache import Places, elapsed
from llmspell.security.secrets.reading import Reading, Subscription
from llmspell.security.secrets.ref import SecretRef, check_tenant
from llmspell.security.secrets.secret import Secret

__all__ = ["SecretStore", "TenantSecrets"]


class _Handle:
    """What the store and a tenant's view of it have in common. Thread-safe."""

    def __init__(self, reading: Reading, tenant: str | None) -> None:
        self._reading = reading
        self._tenant = tenant

    def _places(self, ref: SecretRef) -> Places:
        raise NotImplementedError

    def get(self, ref: SecretRef | str) -> Secret[str]:
        """The secret that a reference leads to, read at most ``ttl`` seconds ago.

        Waits for a backend where it isn't cached: use :meth:`aget` in coroutines.

        Raises:
            InvalidSecretRef: no reference, or one of no backend of the store.
            SecretDenied: this handle may not name it, or the backend doesn't let us read it.
            SecretNotFound: it is in none of the places that it may be in.
            SecretUnavailable: a backend that it may be in can't be asked.
            SecurityError: another reason; the message names it.
        """
        asked = _as_ref(ref)
        return self._reading.read(asked, self._tenant, self._allowed(asked))

    async def aget(self, ref: SecretRef | str) -> Secret[str]:
        """:meth:`get` in a thread of the running loop's default executor."""
        import asyncio

        return await asyncio.to_thread(self.get, ref)

    def api_key(self, provider: str) -> Secret[str]:
        """``get("name:PROVIDER")``: for ``openai``, of the deployment, ``OPENAI_API_KEY`` first."""
        return self.get(SecretRef("name", provider))

    async def aapi_key(self, provider: str) -> Secret[str]:
        """:meth:`api_key` in a thread of the running loop's default executor."""
        return await self.aget(SecretRef("name", provider))

    def subscribe(
        self, ref: SecretRef | str, callback: Callable[[Secret[str]], object]
    ) -> Subscription:
        """Be told of a new value when one is read, by whomever and for whatever reason.

        Nothing is read for it: :meth:`get` after the expiry or :meth:`refresh` does that. The
        callback runs in the thread that read, after it, one at a time; what it raises is logged by
        its type and goes no further. The value when this is called is known, and not told.

        Returns:
            A handle whose ``cancel()`` ends it, and which is a context manager.

        Raises:
            InvalidSecretRef, SecretDenied, SecurityError: as :meth:`get`, for the value is read.
        """
        asked = _as_ref(ref)
        places = self._allowed(asked)
        self._reading.read(asked, self._tenant, places)
        return self._reading.subscribe(asked, self._tenant, places, callback)

    def _renew(self, ref: SecretRef | str) -> Secret[str]:
        asked = _as_ref(ref)
        return self._reading.read(asked, self._tenant, self._allowed(asked), anew=True)

    def _allowed(self, ref: SecretRef) -> Places:
        try:
            return self._places(ref)
        except SecretDenied:
            self._reading.tell(SecretAccess(ref=ref, tenant=self._tenant, outcome="denied"))
            raise


class SecretStore(_Handle):
    """Secrets of a deployment and of its tenants: from the environment, then from backends.

    ``name:openai`` is the variable ``OPENAI_API_KEY``, or else what the first backend has that has
    it, in the order given. A backend that can't be asked ends the search: another's value could be
    an old one. All other references are read from their one place.

    A value is used for ``ttl`` seconds from when its reading began, then it is read anew, by one
    thread at a time. A new value is so seen after ``ttl``, or at once by :meth:`refresh`. Misses
    aren't kept. Thread-safe; usable after a fork, with nothing cached.

    Args:
        backends: of different schemes.
        environ: in place of the process's environment.
        ttl: seconds.
        stale_grace: seconds after its expiry that a value is still used, while its backend is
            unavailable; the access is told as ``stale``.
        on_access: is told of each access, before the value is given; what it raises is raised, and
            the value is not given. Called by several threads at once. :func:`record_accesses`
            makes one for an audit log.
        clock: in seconds, for tests; one that goes on while the machine sleeps.

    Raises:
        ConfigError: two backends of one scheme, or a number that is no time.
    """

    def __init__(
        self,
        backends: Iterable[SecretBackend] = (),
        *,
        environ: Mapping[str, str] | None = None,
        ttl: float = 300.0,
        stale_grace: float = 0.0,
        on_access: Callable[[SecretAccess], object] | None = None,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        self._backends: dict[str, SecretBackend] = {"env": EnvironmentBackend(environ)}
        for backend in backends:
            if backend.scheme in self._backends or backend.scheme == "name":
                raise ConfigError(f"two backends have the scheme {backend.scheme!r}; each has one")
            self._backends[backend.scheme] = backend
        for what, seconds in (("ttl", ttl), ("stale_grace", stale_grace)):
            # Not so for NaN either.
            if isinstance(seconds, bool) or not 0 <= seconds <= 366 * 86_400:
                raise ConfigError(f"{what} must be of 0 seconds to a year, got {seconds!r}")
        reading = Reading(
            self._backends, ttl=ttl, stale_grace=stale_grace, on_access=on_access, clock=clock
        )
        super().__init__(reading, None)

    def __repr__(self) -> str:
        return f"SecretStore({list(self._backends.values())!r})"

    def refresh(self, ref: SecretRef | str | None = None) -> None:
        """Use nothing that was read before this call.

        Args:
            ref: read this one anew, at once; None for all: those that are subscribed to are read
                at once, the others when they are next asked for.

        Raises:
            SecurityError: as :meth:`get`; of several the first, with notes of the others, after
                all were tried.
        """
        if ref is None:
            self._reading.refresh_all()
        else:
            self._renew(ref)

    def for_tenant(
        self, tenant_id: str, *, grants: Iterable[SecretRef | str] = ()
    ) -> TenantSecrets:
        """A view for one tenant: its own secrets by ``name:``, and what is granted to it.

        Raises:
            ConfigError: no id of a tenant.
            InvalidSecretRef: a grant that is no reference.
        """
        if isinstance(grants, str):
            raise ConfigError("grants is one reference; give several, or a tuple of one")
        granted = frozenset(_as_ref(one) for one in grants)
        return TenantSecrets(self, check_tenant(tenant_id), granted)

    def _places(self, ref: SecretRef) -> Places:
        return self._places_of(ref, None)

    def _places_of(self, ref: SecretRef, tenant: str | None) -> Places:
        if ref.scheme == "name":
            made = (backend.ref_for(ref.path, tenant) for backend in self._backends.values())
            return tuple(place for place in made if place is not None)
        if ref.scheme not in self._backends:
            raise InvalidSecretRef(
                f"no backend reads references of {ref.scheme}:; there are name:, "
                + ", ".join(f"{scheme}:" for scheme in self._backends)
            )
        return (ref,)


class TenantSecrets(_Handle):
    """One tenant's view of a :class:`SecretStore`, made by :meth:`SecretStore.for_tenant`.

    ``name:openai`` is the tenant's own secret of that name, kept by a backend in a place that no
    other tenant's id leads to; or, where it has none and ``name:openai`` was granted, the
    deployment's. Every other reference is denied unless that very one was granted. Thread-safe.

    Attributes: ``tenant``, the id.
    """

    def __init__(self, store: SecretStore, tenant: str, grants: frozenset[SecretRef]) -> None:
        super().__init__(store._reading, tenant)
        self.tenant = tenant
        self._store = store
        self._grants = grants

    def __repr__(self) -> str:
        return f"TenantSecrets({self.tenant!r}, {len(self._grants)} grants)"

    def refresh(self, ref: SecretRef | str) -> None:
        """Read a secret anew, at once. Raises what :meth:`get` raises."""
        self._renew(ref)

    def _places(self, ref: SecretRef) -> Places:
        is_granted = ref in self._grants
        if ref.scheme == "name":
            own = self._store._places_of(ref, self.tenant)
            return own + (self._store._places_of(ref, None) if is_granted else ())
        if not is_granted:
            raise SecretDenied(
                f"the tenant {self.tenant!r} isn't granted {ref}; its own secrets are name:NAME"
            )
        return self._store._places_of(ref, None)


def _as_ref(ref: SecretRef | str) -> SecretRef:
    # Not a subclass, which could be equal to whatever was granted.
    return ref if type(ref) is SecretRef else SecretRef.parse(ref)
