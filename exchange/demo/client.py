"""A small client of the public REST API, as an integrator would write one: JWT, retries, plain refusals."""

import time
from types import TracebackType
from typing import Any, Self

import httpx

TIMEOUT_SECONDS = 5.0
RENEW_SECONDS_BEFORE = 60.0
UNAUTHORIZED, TOO_MANY, SERVER_FAILURE = 401, 429, 500


class UnavailableError(Exception):
    """The exchange does not answer, or asks to come back later."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class RefusedError(Exception):
    """The exchange understood and refused; `code` is its permanent number for the reason."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code


class ApiClient:
    """Calls the exchange as one user."""

    def __init__(self, url: str, username: str, password: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(base_url=f"{url}/api/v1", timeout=TIMEOUT_SECONDS, transport=transport)
        self._login = {"username": username, "password": password}
        self._access = ""
        self._renew_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int) -> Any:
        """Read something."""
        return self._call("GET", path, params=query)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Ask for something."""
        return self._call("POST", path, json=body)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        """Change something."""
        return self._call("PUT", path, json=body)

    def delete(self, path: str) -> Any:
        """Take something back."""
        return self._call("DELETE", path)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        """Call with a valid token; sign in again, once, when it is refused."""
        for attempt in range(2):
            if time.monotonic() >= self._renew_at:
                self._sign_in()
            try:
                return self._send(method, path, {"Authorization": f"Bearer {self._access}"}, options)
            except RefusedError as error:
                if error.code != UNAUTHORIZED or attempt:
                    raise
                self._renew_at = 0.0
        raise UnavailableError("sign-in does not last")

    def _sign_in(self) -> None:
        """Take a new pair of tokens; only the access token is used, and soon replaced."""
        tokens = self._send("POST", "/auth/token", {}, {"json": self._login})
        self._access = tokens["access"]
        self._renew_at = time.monotonic() + max(1.0, tokens["access_expires_in"] - RENEW_SECONDS_BEFORE)

    def _send(self, method: str, path: str, headers: dict[str, str], options: dict[str, Any]) -> Any:
        """Send one request and open the envelope.

        Raises:
            UnavailableError: No answer, a failure of the server, or too many requests.
            RefusedError: Any other refusal; 401 stands for every problem with the token.
        """
        try:
            response = self._http.request(method, path, headers=headers, **options)
        except httpx.HTTPError as error:
            raise UnavailableError(type(error).__name__) from error
        if response.status_code == TOO_MANY or response.status_code >= SERVER_FAILURE:
            retry_after = response.headers.get("Retry-After", "")
            wait = float(retry_after) if retry_after.isdigit() else 0.0
            raise UnavailableError(f"HTTP {response.status_code}", wait)
        try:
            body = response.json()
            code, message, data = body["code"], body["message"], body["data"]
        except (ValueError, KeyError, TypeError) as error:
            raise UnavailableError(f"HTTP {response.status_code} without an envelope") from error
        if response.is_success:
            return data
        raise RefusedError(UNAUTHORIZED if response.status_code == UNAUTHORIZED else code, message)
