"""Telephone numbers as people write them, brought into one form or refused.

Mainland numbers by their plan (工信部《电信网编号计划》): mobile, fixed with and without area code
and extension, 400/800 service numbers, short codes (110, 12345, 95xxx). Numbers from elsewhere are
taken in the international form (ITU-T E.164): relatives abroad ask for their parents.
"""

import re
import unicodedata

_FILLING = re.compile(r"[\s().·\-‐-―−]+")
_EXTENSION = re.compile(r"(?:转|#|ext\.?|x)", re.IGNORECASE)
_MOBILE = re.compile(r"1[3-9]\d{9}")
_FIXED = re.compile(r"(010|02\d|0[3-9]\d\d)([2-9]\d{6,7})")
_AREA_CODE_WITHOUT_ZERO = re.compile(r"(?:10|2\d)[2-9]\d{7}|(?!400|800)[3-9]\d\d[2-9]\d{6,7}")
_LOCAL = re.compile(r"[2-9]\d{6,7}")
_SERVICE = re.compile(r"[48]00\d{7}")
_SHORT = re.compile(r"1\d{2}|1[02]\d{3}|9[56]\d{3,4}")
_ABROAD = re.compile(r"\+[1-9]\d{6,14}")


def normalised(written: str) -> str | None:
    """Return the number in one form, or None if it is none that can be rung.

    `+86` and `0086` go, full-width digits become plain ones, a fixed number gets a hyphen after
    its area code, an extension stands after 转.
    """
    parts = _EXTENSION.split(unicodedata.normalize("NFKC", written), maxsplit=1)
    extension = _FILLING.sub("", parts[1]) if len(parts) > 1 else ""
    if len(parts) > 1 and not re.fullmatch(r"\d{1,6}", extension, re.ASCII):
        return None
    number = _FILLING.sub("", parts[0])
    if not number.isascii():
        return None
    domestic = re.sub(r"^(?:\+|00)86", "", number)
    if domestic != number and _AREA_CODE_WITHOUT_ZERO.fullmatch(domestic):
        domestic = "0" + domestic
    if fixed := _FIXED.fullmatch(domestic):
        domestic = f"{fixed[1]}-{fixed[2]}"
    if fixed or _LOCAL.fullmatch(domestic):
        return f"{domestic}转{extension}" if extension else domestic
    if extension:
        return f"{domestic}转{extension}" if _SERVICE.fullmatch(domestic) else None
    if any(plan.fullmatch(domestic) for plan in (_MOBILE, _SERVICE, _SHORT)):
        return domestic
    return number if _ABROAD.fullmatch(number) and not number.startswith("+86") else None
