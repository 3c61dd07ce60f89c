"""When a declaration can be filed (REGULATION §2.8, doubts D11 and §10)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from solidarite_server.domain.errors import IllegalTransition, Reason
from solidarite_server.domain.month import Month
from solidarite_server.legislation import Calendrier

_PARIS = ZoneInfo("Europe/Paris")
_LATE_MONTHS = 3
_PRESCRIPTION_YEARS = 2


def day_of(instant_us: int) -> date:
    """The day in Paris of an instant in microseconds since 1970-01-01 UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant_us)).astimezone(_PARIS).date()


def start_of(day: date) -> int:
    """The instant at which a day begins in Paris, in microseconds since 1970-01-01 UTC."""
    return int(datetime.combine(day, time(), _PARIS).timestamp()) * 1_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """Days on which the declaration of a month can be filed; all included."""

    opens: date
    closes: date
    late_until: date
    """Filed after `closes`, payment is delayed; after this day the declaration is not returned."""
    prescription: date
    """Last day on which rights paid can be revised (CASF L262-45: two years)."""
    enforced: bool
    opens_at_us: int
    """The instant at which the window opens."""

    def check_filing(self, today: date) -> None:
        """Refuse a change outside the window, late filing included; IllegalTransition says when it is open."""
        if self.enforced and not self.opens <= today <= self.late_until:
            raise IllegalTransition(
                f"La déclaration se remplit du {self.opens:%d/%m/%Y} au {self.closes:%d/%m/%Y}, "
                f"et en retard jusqu'au {self.late_until:%d/%m/%Y}.",
                reason=Reason.WINDOW_CLOSED,
                field="mois_declaration",
            )

    def is_late(self, today: date) -> bool:
        """Whether filing that day delays the payment."""
        return self.enforced and today > self.closes

    def is_over(self, today: date) -> bool:
        """Whether nothing can be filed any more."""
        return self.enforced and today > self.late_until


@cache
def window_of(mois_declaration: Month, calendrier: Calendrier) -> Window:
    """The window of a declaration month."""
    last = mois_declaration.last_day
    return Window(
        opens=mois_declaration.first_day,
        closes=last.replace(day=25) if calendrier is Calendrier.JOUR_25 else last,
        late_until=(mois_declaration + _LATE_MONTHS).last_day,
        prescription=(mois_declaration + 2 + 12 * _PRESCRIPTION_YEARS).last_day,
        enforced=calendrier is not Calendrier.LIBRE,
        opens_at_us=start_of(mois_declaration.first_day),
    )
