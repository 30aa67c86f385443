"""The classes of the shipped models, and which names others may have."""

import unicodedata
from collections.abc import Sequence

LABELS = ("normal", "benign", "malignant")
"""The classes of the shipped models, in the order of the network's output."""

NORMAL, BENIGN, MALIGNANT = LABELS
"""The names that rules and metrics know; a model need not have them."""

LESIONS = LABELS[1:]
"""The shipped models' classes with a lesion."""

TASKS = MASK, CLASS = ("mask", "class")
"""The outputs of a network. One that was not trained means nothing."""

UNKNOWN = "unknown"
"""In datasets, says that an image's class is not known."""

LONGEST_LABEL = 40
"""In characters, so that a label fits into captions and tables."""


def check_label(label: str) -> str:
    """Returns a class's name.

    Raises:
        ValueError: it is empty, too long, "unknown", one of `LABELS` in capitals,
            begins or ends with a space, or has a comma, an equals sign, a backslash
            (not allowed in DICOM) or a character that is not printed.
    """
    problem = ""
    if not isinstance(label, str) or not label.strip():
        problem = "is empty or no text"
    elif label != label.strip():
        problem = "begins or ends with a space"
    elif len(label) > LONGEST_LABEL:
        problem = f"has more than {LONGEST_LABEL} characters"
    elif label not in LABELS and label.casefold() in LABELS:
        problem = (
            f"is not '{label.casefold()}', the name that the rules for it look for"
        )
    elif label.lower() == UNKNOWN:
        problem = "stands for images whose class is not known"
    elif set(label) & set(",=\\"):
        problem = "has a comma, an equals sign or a backslash"
    elif any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in label):
        problem = "has a character that is not printed"
    if problem:
        raise ValueError(f"the label {label!r} {problem}; choose another name.")
    return label


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of a model's classes.

    Raises:
        ValueError: there are fewer than two, a name is not allowed (`check_label`), or
            two are equal or differ only in capital letters.
    """
    if isinstance(labels, str) or len(labels) < 2:
        raise ValueError(f"labels must be two names or more, got {labels!r}.")
    names: dict[str, str] = {}
    for label in labels:
        name = check_label(label).casefold()
        if name in names:
            raise ValueError(
                f"labels: '{names[name]}' and '{label}' are one name, as capital "
                "letters do not count; rename one of them."
            )
        names[name] = label
    return tuple(labels)


def check_tasks(tasks: Sequence[str]) -> tuple[str, ...]:
    """Returns the outputs that a model was trained for, in the order of `TASKS`.

    Raises:
        ValueError: there is none, or another one.
    """
    if isinstance(tasks, str) or not tasks or not set(tasks) <= set(TASKS):
        raise ValueError(f"tasks must be some of {', '.join(TASKS)}, got {tasks!r}.")
    return tuple(task for task in TASKS if task in tasks)


def name_classes(
    labels: Sequence[str] | None, num_classes: int | None, tasks: Sequence[str]
) -> tuple[str, ...] | None:
    """Returns the names of a network's classes, see `models.efsnet.EFSNet`.

    Returns:
        None if they have no names; empty if the class is not one of the tasks.

    Raises:
        ValueError: a name is not allowed, or the arguments contradict each other.
    """
    if CLASS not in tasks:
        if labels:
            raise ValueError(
                f"labels are {list(labels)}, but the class is not one of the tasks, "
                f"{list(tasks)}; leave labels out, or add the task."
            )
        return ()
    if labels is None:
        return LABELS if num_classes in (None, len(LABELS)) else None
    if num_classes not in (None, len(labels)):
        raise ValueError(
            f"num_classes is {num_classes}, but there are {len(labels)} labels, "
            f"{', '.join(labels)}; leave num_classes out."
        )
    return check_labels(labels)
