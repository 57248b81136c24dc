"""What a channel or a page needs to know before anybody asks: categories, places, hotlines."""

from typing import Any

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from contracts.profile import Profile
from services.chassis.http import Forbidden
from services.intake.api import FromChannel
from services.intake.domain.bodies import TEXT_LIMIT
from services.intake.reading import described


def routes(profile: Profile) -> APIRouter:
    """Return the routes that tell of the profile what is not for insiders alone."""
    router = APIRouter(prefix="/v1")
    public = orjson.dumps(_public(profile))

    @router.get("/profile", openapi_extra=described(None, key=False))
    async def tell_profile() -> Response:
        """公开配置：类别、地区、热线。"""
        return Response(
            public, media_type="application/json", headers={"Cache-Control": "public, max-age=60"}
        )

    @router.get("/channels/me", openapi_extra=described(None))
    async def tell_channel(caller: FromChannel) -> dict[str, Any]:
        """本渠道：名称、频率上限、是否允许内网回调。"""
        channel = profile.channels_by_code.get(caller.name)
        if channel is None:
            raise Forbidden("这个密钥的渠道不在当前配置中。")
        return channel.model_dump()

    return router


def _public(profile: Profile) -> dict[str, Any]:
    return {
        "id": profile.id,
        "version": profile.version,
        "name": profile.name,
        "time_zone": profile.time_zone,
        "text_limit": TEXT_LIMIT,
        "categories": [{"code": one.code, "name": one.name} for one in profile.categories],
        "regions": [
            {"code": one.code, "name": one.name, "parent": one.parent, "level": one.level}
            for one in profile.regions
        ],
        "hotlines": [
            {"number": one.code, "name": one.name, "says": one.says} for one in profile.hotlines
        ],
        "rating_levels": [
            {"level": 5 - place, "name": name}
            for place, name in enumerate(profile.rules.rating_levels)
        ],
    }
