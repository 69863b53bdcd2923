"""Words of a command line: of one run, of a sweep, and what --help is asked; no run is started."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from omegaconf import OmegaConf

from lt_bench.cli.main import _dispatch
from lt_bench.config import compose as parser
from lt_bench.config.compose import compose, groups, shown
from lt_bench.config.schema import Config, flat, plain
from lt_bench.errors import DataError, SettingError, UsageError
from lt_bench.launch.planning import plan as planning
from tests.fuzz.contract import Reader
from tests.fuzz.odd import changed, texts

METHODS = ("ce", "sbcl", "simclr_gh", "gpaco", "boosted_cl", "ldam_drw")
OWN = (UsageError, SettingError, DataError)
MOST_RUNS = 200  # of a sweep that is planned whole; a larger one is expanded alone


@cache
def known() -> dict[str, list[Any]]:
    """Keys with the values that they have in conf/, parameters of classes among them."""
    found: dict[str, list[Any]] = {key: [value] for key, value in flat(plain(Config())).items()}
    for method in METHODS:
        for key, value in flat(OmegaConf.to_container(compose([f"method={method}"]), resolve=False)).items():
            found.setdefault(key, []).append(value)
    return found


ODD = """
nan inf -inf 1e400 -0 1_000 0x10 10000000000000000000000000000000 99999999999999999999.5 null NULL true True ??? . .. /
[] {} [[]] {a:} {a:1,a:2} {[]:1} [1,[2,[3]]] {a:{b:{c:1}}} {_target_:x.Y} [,] [a,] ''  'a' '${seed}' \\, \\' a\\=b
${seed} ${oc.env:HOME} ${ ${} ${.seed} ${..x} ${epochs:1} ${epochs:x} ${epochs:} ${former:} ${quirk_epochs:1e999}
${longer_part:1} ${train.lr} ${${seed}} ${method} ${method.name}x ${output_dir}/a ${sweep[0]} ${x:${y:${z:1}}}
glob(*) glob([a*,b*],exclude=*c) int(3) int(x) float(1) bool(true) str(1) json_str({a:1}) extend_list(1,2) int([1,a])
range(3) choice(1,2) sort(3,1) shuffle(1,2) interval(0,1) tag(a,1) sort(range(3),reverse=true)
my_module.MyClass torch.optim.AdamW lt_bench.methods.ce.CE os.system .. a. .a a..b __main__.x 1.2 sys.path x.y.z.w
torch.optim.LBFGS timm.create_model lt_bench.engine.schedules.Cosine lt_bench.data.sources.image_lists.read
/tmp /dev/null /root/x ~ ~nobody/x a/../b 0 -1 1 2 1000000 1e-300
""".split()
odd_values = st.sampled_from(ODD)
quoted = texts.map(lambda text: f"'{text.replace(chr(39), '_')}'")


@cache
def _spelt() -> list[str]:
    return sorted({shown(value) for values in known().values() for value in values})


of_others = st.deferred(lambda: st.sampled_from(_spelt()))
numbers = st.one_of(st.integers(-2, 300), st.floats()).map(shown)
lists = st.lists(st.one_of(odd_values, of_others, numbers), max_size=3).map(lambda values: f"[{','.join(values)}]")
plain_values = st.one_of(odd_values, odd_values, of_others, numbers, lists, quoted, texts)
bounds = st.sampled_from([*"0 3 -3 0.1 1e9 100 a nan inf start=1 1e-9 1e400".split(), ""])
ranges = st.one_of(st.builds("range({},{},{})".format, bounds, bounds, bounds), st.builds("range({})".format, bounds))
some = st.one_of(ranges, st.lists(st.one_of(plain_values, plain_values, ranges), min_size=1, max_size=4).map(",".join))
kinds = st.sampled_from("sort shuffle choice int float str bool json_str tag range glob interval extend_list".split())
ends = st.sampled_from(["", "", "", ",reverse=true", ",a", ",seed=1", ",", ",exclude=s*"])
globs = st.sampled_from("glob(*) glob(s*) glob(*,exclude=s*) glob([*],[a*]) glob(*x) 0..3 *".split())
sweeps = st.one_of(
    globs, st.recursive(some, lambda inner: st.builds("{}({}{})".format, kinds, inner, ends), max_leaves=3)
)


@st.composite
def words(draw: Callable[..., Any], value: SearchStrategy[str]) -> str:
    """One word: a choice of a group, or a key with a value of its own, of another key, or odd; some spelt wrong."""
    if draw(st.integers(0, 3)) == 0:
        key = draw(st.sampled_from(sorted(groups())))
        own = st.sampled_from(groups()[key])
    else:
        key = draw(st.sampled_from(sorted(known())))
        own = st.sampled_from([shown(one) for one in known()[key]])
    given = draw(st.one_of(own, value, value))
    sign = draw(st.sampled_from(SIGNS)) if draw(st.integers(0, 5)) == 0 else ""
    if draw(st.integers(0, 5)):
        return f"{sign}{key}={given}"
    if draw(st.booleans()):
        return draw(changed(st.just(f"{sign}{key}={given}")))
    above, _, name = key.rpartition(".")
    return sign + draw(st.sampled_from(FORMS)).format(key=key, value=given, above=above, name=name)


SIGNS = ["+", "++", "~", "hydra.", "hydra/", "--", "-", "@", "+~", " "]
FORMS = (
    """
{key}|{key}=|={value}|=|{key}@a.b={value}|{key}.x={value}|{key}.={value}|.{key}={value}|{key}:{value}|{key}=={value}
{key}={{{key}={value}}}|{above}={{{name}:{value}}}|{key}={{x:{value}}}|{key}=[{value}]|{key}[0]={value}|{key}.0={value}
{key} = {value}|{above}={value}|{above}/{name}={value}|{key}={value}|{above}={{}}|{above}=null|{above}=[]
{key}._target_={value}|{above}._target_={value}|{above}.name={value}|{above}.title={value}
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
FLAGS = """
-m --multirun --cfg=job -c job --resolve --help -h --version -- --config-dir=x -cd --dry-run --info -x --help=method
""".split()
one_run = st.one_of(
    st.lists(words(plain_values), min_size=1, max_size=2),
    st.lists(
        st.one_of(words(plain_values), st.sampled_from(FLAGS), changed(st.sampled_from(FLAGS)), texts), max_size=4
    ),
)
several = st.lists(st.one_of(words(sweeps), words(plain_values)), min_size=1, max_size=3)


def _in_a_new_process() -> None:
    """Forget the words of earlier tries, which no process would have seen: thousands of long ones fill the memory."""
    parser._parse_one.cache_clear()
    planning._grids.cache_clear()


def read_run(typed: Sequence[str]) -> None:
    """As ``python -m lt_bench --dry-run`` reads it, which starts nothing."""
    _in_a_new_process()
    if not any("-sc" in word or "completion" in word for word in typed):  # it would write into the user's files
        _quietly(lambda: _dispatch(["--dry-run", *typed]))


def read_sweep(typed: Sequence[str]) -> None:
    """As ``python -m lt_bench.launch plan`` reads it; the states of runs are for another reader."""
    _in_a_new_process()
    if len(planning.expand(typed)) > MOST_RUNS:
        return
    planning.plan(typed)


def read_help(typed: Sequence[str]) -> None:
    """What ``--help KEY`` prints."""
    _in_a_new_process()
    key, *more = typed
    _quietly(
        lambda: _dispatch([f"--help={key}", *[word for word in more if "completion" not in word and "-sc" not in word]])
    )


def _quietly(work: Callable[[], Any]) -> None:
    with (
        contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        work()


READERS = {
    "words": Reader(one_run, read_run, OWN),
    "sweeps": Reader(several, read_sweep, OWN),
    "help": Reader(
        st.lists(
            words(plain_values)
            | st.sampled_from(sorted(groups()))
            | st.deferred(lambda: st.sampled_from(sorted(known()))),
            min_size=1,
            max_size=3,
        ),
        read_help,
        OWN,
    ),
}
