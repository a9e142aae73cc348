"""What comes in and what was set: data, gradients that were kept, rate and constants of the optimizer."""

from __future__ import annotations

from thermo_callbacks.catalog import questions
from thermo_callbacks.catalog.quantity import LIGHT, Quantity, ScalarChart

_NO_INPUTS = "no tensor of the batch has samples along its first dimension"

QUANTITIES = (
    Quantity(
        name="Learning rate",
        tags=("thermo/learning_rate",),
        unit="of the optimizer",
        formula="largest rate of all parameter groups",
        summary="largest learning rate when the window ended",
        meaning="What the schedule has made of the rate that you set.",
        caution="Of several groups only the largest shows; what differs by layer stands in the run's configuration.",
        action="Read the other curves beside it: what changes together with the rate is no surprise.",
        missing="no parameter group has a rate",
        when="window",
        logged_by=LIGHT,
        charts=(ScalarChart(questions.RATE, "Learning rate [of the optimizer]", ("thermo/learning_rate",), place=3),),
    ),
    Quantity(
        name="Epsilon share",
        tags=("thermo/epsilon_share",),
        unit="none",
        formula="⟨ε / (√v + ε)⟩, where v is Adam's mean squared gradient and ε its constant",
        summary="part that the constant has in the denominator of Adam and its like; only where they are used",
        meaning="Near 0: each weight moves by the rate, whatever the size of its gradient. Near 1: the constant "
        "decides, and Adam is gradient descent with a rate of lr / ε, mostly a very small one.",
        caution="A loss near zero has gradients near zero, and the share grows with training that is done.",
        action="Near 1 while the loss is high: lower eps, or raise the rate as many times.",
        missing="no weight has had a gradient",
        when="window",
        logged_by=LIGHT,
    ),
    Quantity(
        name="Kept gradient",
        tags=("thermo/kept_gradient",),
        unit="none",
        formula="norm of the gradient before a backward pass / after it, once a window",
        summary="how much of a step's gradient was there before its own backward pass; in automatic optimization",
        meaning="0: gradients are set to zero before each step. More: they pile up, and a step goes where all steps "
        "before it wanted to go.",
        caution="Not looked at in manual optimization, where what is kept is your choice, and with sharded weights.",
        action="Above 0: look for an own optimizer_zero_grad, or a loop that forgets to call zero_grad.",
        missing="no gradient came out of the backward pass",
        when="window",
        logged_by=LIGHT,
    ),
    Quantity(
        name="Batch likeness",
        tags=("thermo/batch_likeness",),
        unit="none",
        formula="B Var(batch means) / mean variance within batches, of each feature by its total variance",
        summary="how much more the means of batches differ than with independent samples (analysis of variance)",
        meaning="1: each batch is a fair sample of the data. 10 or more: samples of a batch are alike, as in data "
        "that are sorted or come one source after the other, and each step unlearns what the last one has learned.",
        caution="In one window it scatters by up to a half. It sees up to 64 features of each tensor. Series and "
        "streams are alike by nature.",
        action="Shuffle: DataLoader(shuffle=True), or a larger shuffle buffer where the data are streamed.",
        missing="the window has fewer than two batches of two samples, or nothing in them varies",
        when="window",
        logged_by=LIGHT,
        charts=(
            ScalarChart(questions.BATCH, "Likeness within batches [ratio]: 1 if shuffled", ("thermo/batch_likeness",)),
        ),
    ),
    Quantity(
        name="Broken batches",
        tags=("thermo/broken_batches",),
        unit="none",
        formula="batches with an input that is no finite number / batches, of the window",
        summary="share of the watched batches with NaN or infinity among their inputs",
        meaning="0 is right. One such batch turns all weights into NaN.",
        caution="It sees up to 64 features of each sample, so a single bad number may escape it.",
        action="Find them: torch.isfinite over the data set. Leave the samples out, or fill the gaps.",
        missing=_NO_INPUTS,
        when="window",
        logged_by=LIGHT,
    ),
    Quantity(
        name="Input size",
        tags=("thermo/input_size",),
        unit="of the inputs",
        formula="√⟨x x⟩, where x are the inputs",
        summary="root mean square of the inputs that are real numbers",
        meaning="Common initialisations are made for inputs of size 1. A hundred times that saturates, kills or blows "
        "up the first layers.",
        caution="Targets and whole numbers, such as tokens, do not count. A first layer that normalises mends it.",
        action="Far from 1: subtract the mean and divide by the standard deviation of the training data.",
        missing=_NO_INPUTS,
        when="window",
        logged_by=LIGHT,
    ),
    Quantity(
        name="Input shift",
        tags=("thermo/input_shift",),
        unit="standard deviations",
        formula="√⟨(x̄ - x̄₀)² / Var x⟩, where x̄ is the mean input of the window, x̄₀ that of the first",
        summary="how far the mean input has moved since the first window, without what is chance",
        meaning="0: the data are those that the run began with. 0.5: half a standard deviation, plain to see.",
        caution="Only the mean is compared. Unshuffled data move too: look at the batch likeness first. With several "
        "processes, batches are those of the first.",
        action="If the loss has jumped with it: find what changed in the data at that step.",
        missing="nothing in the inputs varies",
        when="window",
        logged_by=LIGHT,
        charts=(
            ScalarChart(
                questions.BATCH, "Shift of the inputs since the start [standard deviations]", ("thermo/input_shift",)
            ),
        ),
    ),
    Quantity(
        name="Critical findings",
        tags=("thermo/critical_findings",),
        unit="findings",
        formula="causes found that make the rest of the run a waste",
        summary="how many findings of severity critical there are now",
        meaning="0 is right. More: the text of the findings says what, where and since when.",
        caution="Rules look at the run less and less often: after windows 1, 2, 3, 5, 8 and so on, and at the end.",
        action="EarlyStopping('thermo/critical_findings', mode='max', stopping_threshold=0, patience=1_000_000, "
        "check_finite=False) ends a run that is lost, and no other: 0 all along is no progress to it.",
        when="window",
        logged_by=LIGHT,
    ),
)
