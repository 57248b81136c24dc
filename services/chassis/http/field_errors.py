"""What is wrong with a field, from pydantic's errors, in Chinese and without what was entered."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from services.chassis.http.problems import FieldError

_WHY = {
    "missing": "必填",
    "extra_forbidden": "不认识这个字段",
    "string_type": "应为文字",
    "string_unicode": "不是有效的 UTF-8 文字",
    "string_too_short": "至少 {min_length} 个字符",
    "string_too_long": "最多 {max_length} 个字符",
    "string_pattern_mismatch": "格式不正确",
    "int_type": "应为整数",
    "int_parsing": "应为整数",
    "int_from_float": "应为整数",
    "int_parsing_size": "数字过大",
    "float_type": "应为数字",
    "float_parsing": "应为数字",
    "decimal_type": "应为数字",
    "decimal_parsing": "应为数字",
    "finite_number": "应为有限的数字",
    "bool_type": "应为 true 或 false",
    "bool_parsing": "应为 true 或 false",
    "greater_than": "应大于 {gt}",
    "greater_than_equal": "不应小于 {ge}",
    "less_than": "应小于 {lt}",
    "less_than_equal": "不应大于 {le}",
    "enum": "应为以下之一：{expected}",
    "literal_error": "应为以下之一：{expected}",
    "datetime_type": "应为日期和时间，例如 2022-01-11T08:00:00+08:00",
    "datetime_parsing": "应为日期和时间，例如 2022-01-11T08:00:00+08:00",
    "datetime_from_date_parsing": "应为日期和时间，例如 2022-01-11T08:00:00+08:00",
    "datetime_object_invalid": "应为日期和时间，例如 2022-01-11T08:00:00+08:00",
    "timezone_aware": "时间应带时区，例如 +08:00",
    "date_type": "应为日期，例如 2022-01-11",
    "date_parsing": "应为日期，例如 2022-01-11",
    "date_from_datetime_parsing": "应为日期，例如 2022-01-11",
    "url_type": "应为网址",
    "url_parsing": "应为有效的网址",
    "url_syntax_violation": "应为有效的网址",
    "url_scheme": "网址应以 {expected_schemes} 开头",
    "url_too_long": "网址过长",
    "uuid_type": "应为 UUID",
    "uuid_parsing": "应为 UUID",
    "list_type": "应为列表",
    "tuple_type": "应为列表",
    "too_short": "至少 {min_length} 项",
    "too_long": "最多 {max_length} 项",
    "dict_type": "应为 JSON 对象",
    "model_type": "应为 JSON 对象",
    "model_attributes_type": "应为 JSON 对象",
    "dataclass_type": "应为 JSON 对象",
    "none_required": "应为空",
    "union_tag_not_found": "缺少类型",
    "union_tag_invalid": "类型应为以下之一：{expected_tags}",
}
_OTHERWISE = "填写的内容不正确"
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


def field_errors(errors: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    """Every wrong field once, in the order pydantic found them."""
    found: dict[str, FieldError] = {}
    for error in errors:
        field = _field(error["loc"])
        found.setdefault(field, FieldError(field, _why(error)))
    return list(found.values())


def _field(location: Iterable[str | int]) -> str:
    """`contact.phone`, `lines[2].text`; names that the caller made up are shown only if plain."""
    parts = list(location)
    if parts and parts[0] in {"body", "query", "path", "header", "cookie"} and len(parts) > 1:
        parts = parts[1:]
    name = ""
    for part in parts:
        if isinstance(part, int):
            name += f"[{part}]"
        elif _PLAIN_NAME.fullmatch(part):
            name += f".{part}" if name else part
        else:
            name += ".…" if name else "…"
    return name or "body"


def _why(error: Mapping[str, Any]) -> str:
    """Own validators speak Chinese and are passed on; all else has its sentence here."""
    kind, context = str(error["type"]), dict(error.get("ctx") or {})
    if kind == "value_error":
        own = str(context.get("error", ""))
        return own if _CHINESE.search(own) else _OTHERWISE
    sentence = _WHY.get(kind)
    if sentence is None:
        own = str(error.get("msg", ""))
        return own if _CHINESE.search(own) else _OTHERWISE
    if "expected" in context:
        context["expected"] = str(context["expected"]).replace(" or ", ", ")
    try:
        return sentence.format(**context)
    except KeyError:
        return _OTHERWISE
