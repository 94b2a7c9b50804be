"""Task, network and checkpoints of a run, described for its report."""

from paramdiff.tasks.base import ClassificationTask, CustomTask, Task
from paramdiff.zoo.zoo import Zoo


def network_facts(task: Task, zoo: Zoo) -> dict[str, str]:
    """Describe the task, the network and the checkpoints.

    Args:
        task: of the run.
        zoo: of the run.

    Returns:
        Label to text.
    """
    total = sum(tensor.numel() for tensor in zoo.base.values() if tensor.is_floating_point())
    shown = ", ".join(zoo.layout.names[:6]) + (", ..." if len(zoo.layout.names) > 6 else "")
    held_out = {
        "run": "separate runs",
        "tail": "the last of a run whose others are originals",
        "spaced": "evenly spaced among the others",
        "none": "none",
    }[zoo.index.hold_out]
    score = (
        {}
        if isinstance(task, ClassificationTask)
        else {"Score": f"{task.score_name}, higher is better"}
    )
    inputs = {}
    if isinstance(task, ClassificationTask) and task.inputs_in_words is not None:
        inputs["Inputs"] = task.inputs_in_words
    return {
        "Task": _data_of(task),
        **score,
        **inputs,
        "Network": _network_of(task),
        "Generated parameters": f"{zoo.layout.num_parameters:,} of {total:,} ({shown})",
        "Checkpoints": f"{len(zoo.originals)}, and {len(zoo.held_out)} held out ({held_out})",
    }


def _data_of(task: Task) -> str:
    if isinstance(task, CustomTask) and task.data_in_words is not None:
        return f"{task.name}: {task.data_in_words}"
    selecting = f"{task.num_validation} validation"
    if task.selects_on_test:
        selecting = "no validation (the test examples select, as published: best values flatter)"
    return f"{task.name}: {task.num_train} training, {selecting}, {task.num_test} test examples"


def _network_of(task: Task) -> str:
    name = task.network_name or type(task.build_network()).__name__
    return f"{name}, from published weights" if task.build_pretrained else name
