"""Users' functions and classes: imported by name, called, and their failures reported in one line.

A name is ``module:function`` or ``path/to/file.py:function``. Modules of the current folder take
precedence over installed ones of the same name, in every command. Importing one runs its code.
"""

import hashlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module, invalidate_caches
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from paramdiff.errors import UserError, in_one_line, nearest

FORMS = "module:function or path/to/file.py:function"
_OURS = Path(__file__).parent
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})


def add_current_folder() -> None:
    """Make modules of the current folder importable, after installed ones."""
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)


def import_object(name: str, where: str) -> Any:
    """Import an object by name; this runs its module's code.

    Args:
        name: ``module:function`` or ``path/to/file.py:function``, relative to the current folder;
            the part after the colon may be dotted (``Class.method``).
        where: field or option with the name, for errors.

    Returns:
        The function, class or other object.

    Raises:
        UserError: the name is malformed, there is no such module, file or attribute (with the
            nearest), or the module's code fails.
    """
    source, _, attributes = name.rpartition(":")
    if not source or not attributes or (source[0] == "." and not source.endswith(".py")):
        raise UserError(f"{where}: expected {FORMS}, found {name!r}{_likely(name)}")
    try:
        module = _file(source, name, where) if source.endswith(".py") else _module(source)
    except UserError:
        raise
    except BaseException as error:  # raised by user code, which may raise anything, or exit
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _import_failed(name, source, where, error) from error
    found: Any = module
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise UserError(
                f"{where}: {name!r} cannot be imported: {source} has no {attribute!r}"
                f"{_nearest(attribute, found)}"
            ) from None
    return found


def import_function(name: str, where: str) -> Callable[..., Any]:
    """Import a callable by name: a function, or an object with ``__call__``.

    Args:
        name: see ``import_object``.
        where: see ``import_object``.

    Returns:
        The function.

    Raises:
        UserError: see ``import_object``; or the object is not callable.
    """
    found = import_object(name, where)
    if not callable(found):
        raise UserError(
            f"{where}: expected {name!r} to be a function, found {type(found).__name__}"
        )
    return found


def accepts(function: Callable[..., Any], *arguments: Any, **named: Any) -> bool:
    """Check by its signature if a function accepts these arguments."""
    try:
        inspect.signature(function).bind(*arguments, **named)
    except TypeError:
        return False
    except ValueError:  # implemented in C, without a signature
        return True
    return True


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function; empty if it has no signature."""
    try:
        return inspect.signature(function).parameters
    except (ValueError, TypeError):
        return {}


def wrong_signature(where: str, name: str, function: Callable[..., Any], wanted: str) -> UserError:
    """Make the error for a function with a wrong signature.

    Args:
        where: field or option with the name.
        name: name of the function.
        function: the function.
        wanted: accepted signatures.

    Returns:
        The error, to be raised.
    """
    short = name.rpartition(":")[2]
    try:
        found = str(inspect.signature(function))
    except (ValueError, TypeError):
        found = "(...)"
    return UserError(f"{where}: expected {name!r} to be {wanted}, found {short}{found}")


def call(
    where: str, name: str, hint: str, function: Callable[..., Any], *arguments: Any, **named: Any
) -> Any:
    """Call a user's function; an exception becomes one line with the file and line.

    Args:
        where: field or option with the name.
        name: name of the function.
        hint: description of the arguments, for the error.
        function: the function.
        *arguments: positional arguments.
        **named: keyword arguments.

    Returns:
        The function's result.

    Raises:
        UserError: the function raised an exception.
    """
    try:
        return function(*arguments, **named)
    except Exception as error:  # raised by user code
        raise failed(where, name, hint, error) from error


def failed(where: str, name: str, hint: str, error: BaseException) -> UserError:
    """Make the error for a user's function that raised; arguments are those of ``call``."""
    return UserError(f"{where}: {name!r} failed: {describe_error(error)}; {hint}")


def describe_error(error: BaseException) -> str:
    """Format an exception of user code in one line, with the user's file and line if known."""
    place = error_location(error)
    return f"{type(error).__name__}: {in_one_line(error)}" + (f" ({place})" if place else "")


def error_location(error: BaseException) -> str | None:
    """Locate the last executed line of user code, or return None."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_users(frame.filename)]
    return f"{_short(own[-1].filename)}:{own[-1].lineno}" if own else None


def _is_users(file: str) -> bool:
    path = Path(file)
    is_library = "site-packages" in path.parts or "dist-packages" in path.parts
    is_library = is_library or any(path.is_relative_to(library) for library in _LIBRARIES)
    return not file.startswith("<") and not is_library and not path.is_relative_to(_OURS)


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


@contextmanager
def _folder_first(folder: Path) -> Iterator[None]:
    """Put a folder first on the import path within the context, and last afterwards."""
    place = str(folder)
    sys.path.insert(0, place)
    invalidate_caches()  # the file may be newer than the cached listing
    try:
        yield
    finally:
        sys.path.remove(place)
        if place not in sys.path:
            sys.path.append(place)


def _module(name: str) -> ModuleType:
    here = Path.cwd()
    own = here.joinpath(*name.split("."))
    files = [file for file in (own.with_suffix(".py"), own / "__init__.py") if file.is_file()]
    if files and _is_taken(name.partition(".")[0], here):
        return _load(files[0])  # the user's module is meant, not a loaded one of the same name
    with _folder_first(here):
        return import_module(name)


def _is_taken(name: str, here: Path) -> bool:
    """Check if a module of this name was loaded from outside a folder."""
    loaded = sys.modules.get(name)
    if loaded is None:
        return False
    places = [Path(place).parent for place in getattr(loaded, "__path__", ())]
    file = getattr(loaded, "__file__", None)
    if file is not None and not places:
        places = [Path(file).parent]
    return here.resolve() not in [place.resolve() for place in places]


def _file(source: str, name: str, where: str) -> ModuleType:
    path = Path(source).expanduser()
    if not path.is_file():
        near = nearest(path.name, _modules_in(path.parent))
        hint = f"; the nearest is {str(path.parent / near)!r}" if near else ""
        raise UserError(f"{where}: {name!r} cannot be imported: there is no file {source}{hint}")
    return _load(path)


def _load(file: Path) -> ModuleType:
    """Load the module of a file once; it can import the other modules of its folder."""
    file = file.resolve()
    for module in list(sys.modules.values()):
        if _is_loaded_from(module, file):
            return module
    digest = hashlib.sha256(str(file).encode()).hexdigest()[:8]
    spec = spec_from_file_location(f"{file.stem}_{digest}", file)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look up the module of a class
    try:
        with _folder_first(file.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _is_loaded_from(module: Any, file: Path) -> bool:
    loaded = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    if not isinstance(loaded, str) or Path(loaded).name != file.name:
        return False  # avoids a disk access per module
    return Path(loaded).resolve() == file


def _modules_in(folder: Path) -> list[str]:
    return [one.name for one in folder.glob("*.py")] if folder.is_dir() else []


def _import_failed(name: str, source: str, where: str, error: BaseException) -> UserError:
    if (
        isinstance(error, ModuleNotFoundError)
        and error.name
        and f"{source}.".startswith(f"{error.name}.")
    ):
        near = nearest(f"{source}.py", _modules_in(Path.cwd()))
        hint = f"; the nearest is {Path(near).stem!r}" if near else ""
        if Path(f"{source}.py").is_file():
            hint = f"; the nearest is {source + '.py'!r}"
        return UserError(
            f"{where}: {name!r} cannot be imported: there is no module {source!r}, neither in "
            f"{Path.cwd()} nor installed{hint}; a file elsewhere is path/to/file.py:function"
        )
    return UserError(f"{where}: {name!r} cannot be imported: {describe_error(error)}")


def _nearest(attribute: str, holder: Any) -> str:
    names = (
        [one for one in vars(holder) if not one.startswith("_")]
        if hasattr(holder, "__dict__")
        else []
    )
    near = nearest(attribute, names)
    return f"; the nearest is {near!r}" if near else ""


def likely_own(name: str) -> str:
    """Suggest a correction of a dotted name that begins with a module of the current folder."""
    source, dot, _ = name.partition(".")
    return _likely(name) if dot and Path(f"{source}.py").is_file() else ""


def _likely(name: str) -> str:
    """Suggest a correction of a name without a colon."""
    if name.endswith(".py"):
        return f": which function of {name}?"
    module, dot, function = name.strip(":").rpartition(".")
    return f": is it {module}:{function}?" if dot and module else ""
