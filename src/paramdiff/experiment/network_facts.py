"""What was run, for people: the task, the network and the checkpoints."""

from paramdiff.tasks.task import AnyTask, Task
from paramdiff.zoo.zoo import Zoo


def network_facts(task: AnyTask, zoo: Zoo) -> dict[str, str]:
    """What was run, as far as the task and the zoo tell."""
    total = sum(tensor.numel() for tensor in zoo.base.values() if tensor.is_floating_point())
    shown = ", ".join(zoo.layout.names[:6]) + (", ..." if len(zoo.layout.names) > 6 else "")
    held_out = {
        "run": "separate runs",
        "tail": "the last of a run whose others are originals",
        "spaced": "evenly spaced among the others",
        "none": "none",
    }[zoo.index.hold_out]
    selecting = f"{task.num_validation} validation"
    if task.selects_on_test:
        selecting = "no validation (the test examples select, as published: best values flatter)"
    score = {} if isinstance(task, Task) else {"Score": f"{task.score_name}, higher is better"}
    return {
        "Task": f"{task.name}: {task.num_train} training, {selecting}, {task.num_test} test "
        "examples",
        **score,
        "Network": _network_of(task),
        "Generated parameters": f"{zoo.layout.num_parameters:,} of {total:,} ({shown})",
        "Checkpoints": f"{len(zoo.originals)}, and {len(zoo.held_out)} held out ({held_out})",
    }


def _network_of(task: AnyTask) -> str:
    name = task.network_name or type(task.build_network()).__name__
    return f"{name}, from published weights" if task.build_pretrained else name
