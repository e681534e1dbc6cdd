"""REST calls of sign-up, sign-in and demo funds."""

from django.conf import settings
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from exchange.api import throttling
from exchange.api.authentication import client_address, customer_id
from exchange.api.envelope import ApiResponse
from exchange.kernel.clock import utc_now
from exchange.users import faucet, services
from exchange.users.models import User
from exchange.users.serializers import (
    FaucetRequest,
    FaucetResponse,
    RefreshRequest,
    RegisterRequest,
    RegisterResponse,
    TokenRequest,
    TokenResponse,
    UserResponse,
)

MINUTE = 60
QUARTER_HOUR = 900


def _site(request: Request) -> str:
    return throttling.site_of(client_address(request.META))


class RegisterView(APIView):
    """Sign-up."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(operation_id="register", request=RegisterRequest, responses={201: RegisterResponse})
    def post(self, request: Request) -> ApiResponse:
        """Make a user and sign them in."""
        throttling.take(throttling.Limit("register", settings.REGISTRATIONS_PER_MINUTE_AND_IP, MINUTE), _site(request))
        form = RegisterRequest(data=request.data)
        form.is_valid(raise_exception=True)
        user = services.register(**form.validated_data, language=getattr(request, "LANGUAGE_CODE", ""), now=utc_now())
        user.tokens = services.issue_tokens(user)  # type: ignore[attr-defined]
        return ApiResponse(RegisterResponse(user).data, status=201)


class TokenView(APIView):
    """Sign-in."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(operation_id="token", request=TokenRequest, responses={200: TokenResponse})
    def post(self, request: Request) -> ApiResponse:
        """Exchange name and password for tokens. Failures are limited by address and by name."""
        form = TokenRequest(data=request.data)
        form.is_valid(raise_exception=True)
        attempts = sign_in_limits(_site(request), form.validated_data["username"])
        for limit, caller in attempts:
            throttling.take(limit, caller)
        user = services.sign_in(request, **form.validated_data)
        for limit, caller in attempts:
            throttling.give_back(limit, caller)
        return ApiResponse(TokenResponse(services.issue_tokens(user)).data)


def sign_in_limits(site: str, username: str) -> list[tuple[throttling.Limit, str]]:
    """Return the limits that an attempt to sign in counts against until it succeeds."""
    return [
        (throttling.Limit("sign-in-site", settings.LOGINS_FAILED_PER_MINUTE_AND_IP, MINUTE), site),
        (
            throttling.Limit("sign-in-user", settings.LOGINS_FAILED_PER_QUARTER_HOUR_AND_USER, QUARTER_HOUR),
            User.normalize_username(username),
        ),
    ]


class RefreshView(APIView):
    """The next pair of tokens."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(operation_id="token_refresh", request=RefreshRequest, responses={200: TokenResponse})
    def post(self, request: Request) -> ApiResponse:
        """Exchange a refresh token for a new pair; the old one is used up."""
        form = RefreshRequest(data=request.data)
        form.is_valid(raise_exception=True)
        return ApiResponse(TokenResponse(services.rotate_tokens(form.validated_data["refresh"])).data)


class LogoutView(APIView):
    """Sign-out."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        operation_id="logout",
        request=RefreshRequest,
        responses={200: OpenApiResponse(response={"type": "null"}, description="Signed out.")},
    )
    def post(self, request: Request) -> ApiResponse:
        """Take back a refresh token."""
        form = RefreshRequest(data=request.data)
        form.is_valid(raise_exception=True)
        services.sign_out(form.validated_data["refresh"])
        return ApiResponse(None)


class MeView(APIView):
    """The signed-in user."""

    @extend_schema(operation_id="me", responses={200: UserResponse})
    def get(self, request: Request) -> ApiResponse:
        """Return the signed-in user."""
        return ApiResponse(UserResponse(request.user).data)


class FaucetView(APIView):
    """Demo funds."""

    @extend_schema(operation_id="faucet", request=FaucetRequest, responses={200: FaucetResponse})
    def post(self, request: Request) -> ApiResponse:
        """Give a helping of every asset; only on a demo exchange."""
        form = FaucetRequest(data=request.data)
        form.is_valid(raise_exception=True)
        helping = faucet.give(customer_id(request), request_key=form.validated_data.get("request_key"), now=utc_now())
        return ApiResponse(FaucetResponse(helping).data)
