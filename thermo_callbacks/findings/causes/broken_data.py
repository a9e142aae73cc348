"""Broken data: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History

_TAG = "thermo/broken_batches"


def _find(run: History) -> Sign | None:
    course = run[_TAG]
    broken = course.values > 0.0
    if not broken.any():
        return None
    since = int(course.steps[broken.argmax()])
    share = float(course.values.mean())
    return Sign(
        f"{share:.1%} of the batches that were looked at up to step {run.step} hold inputs that are NaN or infinite.",
        {_TAG: share},
        since_step=since,
        severity="critical",
    )


CAUSE = Cause(
    name="broken data",
    rule=_find,
    reads=(_TAG,),
    seen="The loss is NaN from one step to the next, without having grown before.",
    means="Some inputs are no numbers. One of them turns the loss, the gradient and all weights into NaN.",
    sign="Any NaN or infinity among up to 64 features of each sample of the watched batches. There is no threshold.",
    advice="Look for the samples with torch.isfinite over the data set; leave them out or fill the gaps.",
    mistaken="A network that masks NaN itself.",
    explains=("rate too high", "layer not trained", "dead units", "wrong labels", "rate too low", "data shift"),
)
