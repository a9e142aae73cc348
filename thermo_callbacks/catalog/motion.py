"""Quantities of the moving weights: temperatures, noise, energy."""

from __future__ import annotations

from thermo_callbacks.catalog import questions
from thermo_callbacks.catalog.quantity import FULL, LIGHT, Compared, LayerColumn, Quantity, RunLine, ScalarChart

QUANTITIES = (
    Quantity(
        name="Temperature T",
        tags=("thermo/temperature",),
        family="thermo_temperature",
        pictures=("thermo/temperature_by_layer",),
        unit="loss",
        formula="T = -φ Σ Cov(D - μ D₋, g - μ g₊) / (2 n)",
        summary="kinetic temperature",
        meaning="How hard the noise of the gradient shakes the weights. Hot weights explore, cold ones settle. It "
        "falls when the learning rate falls or the batch grows. The run's value is the mean over all weights, so "
        "large layers count more.",
        caution="Without momentum, a loss that drops steeply within a window counts as noise and T reads too high (the "
        "temperature of the noise does not); in windows of several shuffled epochs of K batches it is low by about "
        "1/K, since no batch comes twice. With momentum T is taken from step to step, where neither is much. A value "
        "below zero is zero within its error.",
        action="Too hot late in training: lower the learning rate or take larger batches; T follows both in "
        "proportion. One layer far above the others: give it a lower learning rate of its own.",
        missing="too few steps of the window had a finite gradient",
        needs=("response",),
        when="window",
        logged_by=(*LIGHT, "TemperatureMonitor", "EntropyMonitor", "FreeEnergyMonitor"),
        charts=(
            ScalarChart(
                questions.TEMPERATURE,
                "Temperature of the run [loss], 95 % band",
                ("thermo/temperature", "thermo/temperature_lower", "thermo/temperature_upper"),
                least=3,
                band=True,
            ),
            ScalarChart(questions.TEMPERATURE, "Temperature by layer [loss]", ("thermo_temperature",)),
        ),
        column=LayerColumn("layers", 10, "temperature\n[loss]", 3),
        lines=(RunLine(20),),
        key_number=20,
        final_value=20,
        compared=Compared(20, "temperatures"),
    ),
    Quantity(
        name="Error of T",
        tags=("thermo/temperature_stderr", "thermo/temperature_lower", "thermo/temperature_upper"),
        family="thermo_temperature_stderr",
        unit="loss",
        formula="standard error; 95 % interval",
        summary="its standard error, and the ends of its 95 % interval",
        meaning="The true value lies between lower and upper 19 times out of 20. A change of T inside the band may "
        "be chance.",
        caution="If the noise of one step carries over to the next (samples in a fixed order), the band is too narrow.",
        action="Take a longer `window`: the error falls with its square root. Shuffle the data.",
        missing="too few steps of the window had a finite gradient",
        needs=("response",),
        when="window",
        logged_by=(*LIGHT, "TemperatureMonitor", "EntropyMonitor", "FreeEnergyMonitor"),
        family_logged_by=(*FULL, "TemperatureMonitor"),
        column=LayerColumn("layers", 20, "standard\nerror\n[loss]", 2),
    ),
    Quantity(
        name="Virial temperature",
        tags=("thermo/virial_temperature", "thermo/virial_temperature_stderr"),
        unit="loss",
        formula="Σ Cov(q, g) / n",
        summary="another thermometer, equal to the kinetic one in equilibrium",
        meaning="The same temperature read off how far the weights swing. It equals T in thermal equilibrium: a gap "
        "beyond the errors says that the run is not there.",
        caution="Agreement proves nothing: in a window shorter than the swing of the weights, plain SGD makes it "
        "follow T wherever it is. Weights that drift make it anything, also negative. With shuffled epochs noise "
        "cancels within an epoch: the weights swing 3 to 30 times less than T says, and nothing follows from T_v = T.",
        action="Where it differs from T, train on before you read what holds in equilibrium only: the Rugh "
        "temperature, or a balance of the entropy.",
        missing="too few steps of the window had a finite gradient",
        when="window",
        logged_by=(*LIGHT, "TemperatureMonitor"),
        charts=(
            ScalarChart(
                questions.EQUILIBRIUM,
                "Thermometers [loss]: far apart means no",
                ("thermo/temperature", "thermo/virial_temperature", "thermo/einstein_temperature"),
                least=2,
                place=1,
            ),
        ),
        compared=Compared(30, "temperatures"),
    ),
    Quantity(
        name="Einstein temperature",
        tags=("thermo/einstein_temperature", "thermo/einstein_temperature_stderr"),
        unit="loss",
        formula="Σ φ² Var(D - μ D₋) / (2 n m)",
        summary="another thermometer, equal to the kinetic one for optimizers that add no noise",
        meaning="The same temperature read off how far each step jumps. It equals T for ordinary optimizers; above "
        "T, the optimizer adds noise of its own (Langevin dynamics).",
        caution="Some percent above T are the drift of a falling loss, not noise: the Einstein excess tells the two "
        "apart. It has no value for optimizers whose mobility m can't be measured.",
        action="Read the Einstein excess beside it, which has an error.",
        missing="how far the optimizer moves a weight per unit of gradient is not told and could not be measured in "
        "the window (a step that is no linear response, or a preconditioner that its state does not show)",
        needs=("response", "mobility"),
        when="window",
        logged_by=(*LIGHT, "TemperatureMonitor"),
    ),
    Quantity(
        name="Einstein excess",
        tags=("thermo/einstein_excess", "thermo/einstein_excess_stderr"),
        unit="none",
        formula="-φ Σ (Var(D - μ D₋) / m) / Σ Cov(D - μ D₋, g) - 1",
        summary="share of the agitation that does not come through the gradient, per share that does",
        meaning="Near 0 for ordinary optimizers. Above 0.1 by more than three times its error, the optimizer adds "
        "noise of its own: at 1 as much as the batches do. It compares each step with its own gradient, so a loss "
        "that falls within the window does not move it.",
        caution="A preconditioner that changes fast within a window (the first window of Adam, or a second moment of "
        "short memory) leaves some percent. Where the optimizer's response is measured, what it leaves unexplained "
        "counts as noise.",
        action="Above 0.1 beyond its error and you add no noise on purpose: look for what else moves the weights, "
        "such as an average of weights that is copied back or a second optimizer.",
        missing="too few steps of the window had a finite gradient",
        needs=("response", "mobility"),
        when="window",
        logged_by=(*LIGHT, "TemperatureMonitor"),
    ),
    Quantity(
        name="Mean loss (internal energy U)",
        tags=("thermo/internal_energy",),
        label="mean loss",
        unit="loss",
        formula="U = ⟨L⟩",
        summary="mean loss in the window (with several processes, the mean of theirs)",
        meaning="Mean training loss of the window.",
        caution="It holds all that the training step returns, penalties included.",
        action="Read it beside the heat and the free energy, which start from it.",
        missing="no loss of the window is known",
        when="window",
        logged_by=(*LIGHT, "FreeEnergyMonitor"),
        charts=(
            ScalarChart(questions.RATE, "Mean loss of the windows [loss]", ("thermo/internal_energy",)),
            ScalarChart(
                questions.LOSS,
                "Energy balance: loss, heat, residual [loss]",
                ("thermo/internal_energy", "thermo/heat", "thermo/first_law_residual"),
            ),
        ),
        lines=(RunLine(10),),
        key_number=10,
        final_value=10,
    ),
    Quantity(
        name="Heat Q",
        tags=("thermo/heat", "thermo/heat_stderr"),
        family="thermo_heat",
        unit="loss",
        formula="Q = (N / n) Σ g·D, where Σ is over all steps so far; between windows heat per learning rate is "
        "interpolated by factors",
        summary="cumulative heat, and the error of what is interpolated between windows",
        meaning="How much the moves of the weights have changed the loss since the start, each move on its own "
        "batch. Negative: it went down. The layer with the most negative heat took most off the loss.",
        caution="Fitting the noise of each batch counts too, so Q goes on falling when U stands still. At high "
        "learning rates steps overshoot, which Q doesn't see.",
        action="A layer whose heat stays near 0 takes no part in the learning: look at its learning rate and whether "
        "a gradient arrives, or freeze it.",
        missing="a step was not finite",
        when="window",
        logged_by=LIGHT,
        charts=(ScalarChart(questions.LOSS, "Heat by layer [loss]: the lowest removed most", ("thermo_heat",)),),
        column=LayerColumn("layers", 30, "heat so\nfar\n[loss]", 2),
    ),
    Quantity(
        name="First-law residual",
        tags=("thermo/first_law_residual",),
        unit="loss",
        formula="(U - U₀) - Q, where U₀ is that of the first window, and Q the heat since then",
        summary="what the heat leaves unexplained of the change of the loss since the first window",
        meaning="What the heat doesn't explain of the change of the loss: fresh batches that undo the fit of earlier "
        "ones, and overshooting. Near 0 the energy balance closes.",
        caution="With small batches it is far from 0, and that is no fault; a sudden jump is worth a look.",
        action="Large although the batches are large: the steps overshoot, lower the learning rate.",
        missing="a loss is not known, or a step was not finite",
        when="window",
        logged_by=LIGHT,
    ),
    Quantity(
        name="Skipped steps",
        tags=("thermo/skipped_steps",),
        unit="steps",
        formula="count",
        summary="steps left out since their gradient was not finite",
        meaning="Steps that the optimizer did not make, after an overflow in 16-bit training for example. No other "
        "number includes them.",
        caution="A few at the start of 16-bit training are normal; if the count keeps growing, the run is in trouble.",
        action="If the count keeps growing: lower the learning rate, or train in bf16.",
        when="window",
        logged_by=LIGHT,
    ),
)
