"""A merchant as the commerce platform writes it."""

from typing import Any

SEOUL_BOOKS: dict[str, Any] = {
    "name": "Seoul Books",
    "grade": "gold",
    "location": {"country": "KR", "region": "11", "city": "Seoul"},
    "businessType": "books",
    "timeZone": "Asia/Seoul",
    "currency": "KRW",
    "status": "active",
}
