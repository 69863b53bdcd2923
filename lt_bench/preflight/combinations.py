"""Values that cannot go together."""

from __future__ import annotations

from collections.abc import Iterator

from lt_bench.augment import described
from lt_bench.augment.views import BOOSTED, VIEWS
from lt_bench.config import optimizers
from lt_bench.config.compose import groups, shown
from lt_bench.config.conf import values_of
from lt_bench.config.evaluation import AGGREGATED, Aggregation
from lt_bench.config.recipes import COMPONENTS, NONE, bare
from lt_bench.config.schema import PUBLISHED, TORCHVISION, Config, chooses_epoch, node, wants_validation
from lt_bench.config.signatures import class_attribute, parameters
from lt_bench.config.stages import StageName
from lt_bench.config.trust import load
from lt_bench.errors import SettingError
from lt_bench.models.named import MEAN, expert_name
from lt_bench.models.weight_files import DILATED, located, refusal
from lt_bench.preflight.epochs import OUR_SCHEDULES, incompatible_epochs
from lt_bench.preflight.names import misnamed
from lt_bench.preflight.task import CLASSIFICATION, other_task
from lt_bench.preflight.timm_models import TIMM

OF_CIFAR = ("tsc",)  # beside self-supervised methods: what the authors' code does officially is that of CIFAR


def incompatible(config: Config) -> Iterator[str]:
    """One line for every combination of values that no run can have."""
    of_method = (other_task, _finetune, _texts, _classifier, _labels, _strengths, _components, _fidelity, _views)
    of_run = (
        _experts,
        _tail,
        _test,
        _validation,
        _patience,
        _lists,
        _input_pool,
        _pretrained,
        _optimizers,
        _steps,
        misnamed,
    )
    for check in (*of_method, *of_run, _schedules):
        yield from check(config)


def _classifier(config: Config) -> Iterator[str]:
    name, rule = config.method["name"], config.stage_two.name
    # what is no literal in a class cannot be known here: it is taken to be possible
    provides = class_attribute(config.method["_target_"], "provides_classifier", False)
    if class_attribute(config.stage_two._target_, "uses_classifier", False) is True and not provides:
        others = ", ".join(choice for choice in groups()["stage_two"] if not _uses_classifier(choice))
        yield f"stage_two={rule} needs a classifier and method={name} trains none; set stage_two= to one of {others}"
    linear = class_attribute(config.method["_target_"], "linear_classifier", True)
    several = config.method.get("experts") is not None  # heads, whose mean is what is evaluated
    linear = linear and config.method.get("classifier") != "cosine" and not several
    if provides and not linear and class_attribute(config.stage_two._target_, "needs_linear_classifier", False) is True:
        yield f"stage_two={rule} needs a linear classifier and method={name} has a normalised one; set stage_two=cb"
    normalized = class_attribute(config.method["_target_"], "normalized_classifier", False)
    if (
        provides
        and (normalized is False or several)
        and class_attribute(config.stage_two._target_, "needs_normalized_classifier", False)
    ):
        yield f"stage_two={rule} needs a normalised classifier and method={name} has none; set stage_two=cb"
    if class_attribute(config.stage_two._target_, "needs_experts", False) is True and _count_of_experts(config) < 2:
        has, instead = ("one", "method.experts.count=3") if several else ("none", "experts=split")
        yield f"stage_two={rule} needs experts and method={name} has {has}; set stage_two=none, or {instead}"
    select = config.evaluation.select
    if select != "last" and rule != "none" and config.stage_two.train is None:
        yield f"evaluation.select={select}: stage_two={rule} is not trained; set evaluation.select=last"


def _finetune(config: Config) -> Iterator[str]:
    method, tuning = config.method, config.method.get("finetune")
    if tuning is None:
        return
    if _self_supervised(config):
        name = method["name"]
        yield f"method.finetune: method={name} never reads labels; set finetune=none, or method=balanced_softmax"
    if config.backbone.get("trainable_convolutions") is not None and tuning.get("kind") not in (None, "full"):
        yield (
            f"backbone.trainable_convolutions does nothing here, as method.finetune.kind={tuning['kind']} says what is "
            "trained; set backbone.trainable_convolutions=null, or finetune=full"
        )
    start, provides = tuning.get("start", "none"), class_attribute(method["_target_"], "provides_classifier", False)
    if start != "none" and provides is False:
        yield (
            f"method.finetune.start={start} is for a classifier and method={method['name']} trains none; set "
            "method.finetune.start=none"
        )


def _texts(config: Config) -> Iterator[str]:
    for key in ("method.finetune.text_features", "stage_two.text_features"):
        path = node(config, key)
        if path is not None and not located(path).is_file():
            yield f"{key}={path}: no such file; set {key}=FILE"


def _labels(config: Config) -> Iterator[str]:
    sampler, name = config.train.sampler, config.method["name"]
    if sampler != "shuffle" and _self_supervised(config):
        yield f"train.sampler={sampler} goes by labels and method={name} never reads labels; set train.sampler=shuffle"


def _self_supervised(config: Config) -> bool:
    return class_attribute(config.method["_target_"], "self_supervised", False) is True


def _strengths(config: Config) -> Iterator[str]:
    method = config.method
    gives = class_attribute(method["_target_"], "gives_strength", False)
    single, given = method.get("cluster_view"), method.get("views")
    for key, views in (("cluster_view", [single] if single else []), ("views", given or [])):
        boosted = dict.fromkeys(described.written(view) for view in views if described.is_boosted(view, VIEWS))
        for view in sorted(boosted) if key == "cluster_view" or gives is False else ():
            instead = f"the view {BOOSTED[view]}" if view in BOOSTED else f"without {described.BOOSTED}"
            yield (
                f"method.{key}: the view {view} needs a strength for every image, and nothing gives one here; boosted "
                f"views are for method=boosted_cl, and the same without RandAugment is {instead}"
            )
    if gives is True and given is not None and not any(described.is_boosted(view, VIEWS) for view in given):
        usual = "boosted" if config.dataset.train_list is None else "ssl_wide_blur_boosted"
        yield (
            f"method.views={shown(given)}: method={method['name']} boosts no view of these; set "
            f"method.views=[{usual},{usual}]"
        )


def _components(config: Config) -> Iterator[str]:
    name = config.method["name"]
    for group in class_attribute(config.method["_target_"], "requires", ()):
        if config.method.get(group) is None:
            yield f"method={name} is nothing without method.{group}; leave {group}={NONE} out"
    for group in COMPONENTS:
        for choice in groups()[group] if config.method.get(group) is None else ():
            base = name.removesuffix(f"_{choice}")
            if base != name and base in groups()["method"]:
                instead = f"method={base}" if name in groups()["method"] else f"{group}={NONE}"
                yield f"method={name} needs method.{group}; set {instead} to train without"


def _uses_classifier(rule: str) -> bool:
    return class_attribute(values_of(f"stage_two/{rule}").get("_target_"), "uses_classifier", False) is True


def _fidelity(config: Config) -> Iterator[str]:
    name, base, quirks = config.method["name"], bare(config.method), groups()["quirks"]
    if config.fidelity == "official" and f"{base}_official" not in quirks:
        known = ", ".join(choice.removesuffix("_official") for choice in quirks)
        yield f"fidelity=official is the same as clean for method={name}; set fidelity=clean (official: {known})"
    elif config.fidelity == "official" and config.dataset.train_list is not None and _of_cifar(config):
        yield (
            f"fidelity=official is what the authors' code of method={name} does on CIFAR, and dataset="
            f"{config.dataset.name} is of large images; set fidelity=clean, and single values as method.KEY=VALUE"
            f"{or_other_forms(base) if base in OF_CIFAR else ''}"
        )


def or_other_forms(method: str) -> str:
    """What to say of the forms of a method that have official quirks too."""
    forms = (choice.removesuffix("_official") for choice in groups()["quirks"])
    return "".join(f", or method={form}, which has its own" for form in forms if form.startswith(f"{method}_"))


def _of_cifar(config: Config) -> bool:
    return _self_supervised(config) or bare(config.method) in OF_CIFAR


def _views(config: Config) -> Iterator[str]:
    views, expand = config.evaluation.views, config.evaluation.expand
    if views != "single" and expand is None:
        yield f"evaluation.views={views} needs the pixels around its crops; set evaluation.expand=24, of images of 224"
    if views == "single" and expand is not None:
        yield (
            f"evaluation.expand={expand} is for several crops of an image; set evaluation.views=five, or "
            "evaluation.expand=null"
        )


def _count_of_experts(config: Config) -> int:
    """How many experts the method has; 0 where it is of none."""
    experts = config.method.get("experts")
    return experts.get("count", parameters(experts["_target_"])["count"].default) if experts else 0


def _experts(config: Config) -> Iterator[str]:
    """What of experts is evaluated, of a network that has none, and how weights are learnt that nothing learns."""
    evaluation, experts = config.evaluation, config.method.get("experts")
    chosen, view = evaluation.experts, evaluation.aggregation.view
    if chosen != AGGREGATED and evaluation.aggregation != Aggregation():
        yield f"evaluation.aggregation is for weights that are learnt; set evaluation.experts={AGGREGATED}"
    if view is not None and (view not in VIEWS or view in BOOSTED):
        known = ", ".join(name for name in VIEWS if name not in BOOSTED)
        yield f"evaluation.aggregation.view={view}: evaluation.aggregation.view= takes {known}"
    if chosen == MEAN:
        return
    if experts is None or config.stage_two.name != NONE:
        has = "trains none" if experts is None else f"has another classifier after stage_two={config.stage_two.name}"
        instead = f"evaluation.experts={MEAN}" + (f", or stage_two={NONE}" if experts is not None else "")
        yield f"evaluation.experts={chosen} is for experts and method={config.method['name']} {has}; set {instead}"
    else:
        names = [*map(expert_name, range(_count_of_experts(config)))]
        if chosen not in (AGGREGATED, *names):
            yield f"evaluation.experts={chosen}: evaluation.experts= takes {MEAN}, {', '.join(names)}, {AGGREGATED}"


def _tail(config: Config) -> Iterator[str]:
    if config.imbalance.factor is None and config.imbalance.profile != "exponential":
        yield f"imbalance.profile={config.imbalance.profile} shapes nothing without a factor; set imbalance.factor=100"


def _validation(config: Config) -> Iterator[str]:
    data = config.dataset
    if data.validation_fraction == 1:
        yield "dataset.validation_fraction=1 leaves nothing to train on; set it below 1, for example 0.2"
    if data.validation_fraction and data.validation_per_class:
        yield "dataset.validation_fraction and dataset.validation_per_class exclude each other; set one of them to 0"
    if (data.validation_fraction or data.validation_per_class) and data.validation_list:
        yield (
            f"{data.name} has a validation list, and a part of the training images is to be set aside as well; set "
            "dataset.validation_list=null, or dataset.validation_fraction=0 and dataset.validation_per_class=0"
        )
    parts = (data.validation_fraction, data.validation_per_class, data.validation_list, data.split_dir)
    if not any(parts) and wants_validation(config):
        balanced = "dataset.validation_per_class=20 (a balanced part of the images before the tail is cut) or "
        yield (
            f"a validation part is asked for but there is none; set {balanced if data.task == CLASSIFICATION else ''}"
            "dataset.validation_fraction=0.2 (a part of the long-tailed images)"
        )


def _patience(config: Config) -> Iterator[str]:
    """A stage that is to end early without validation images that say when."""
    for key in (stage.training for stage in StageName):
        patience, here = node(config, f"{key}.patience"), chooses_epoch(config, key)
        if patience is None or (here and config.evaluation.select == "best_validation"):
            continue
        said = f"{key}.patience={patience} counts epochs without a better score on validation images"
        other = next(one.training for one in StageName if one.training != key)
        if chooses_epoch(config, other):
            yield f"{said}, which are scored in the stage that trains the classifier; set {other}.patience={patience}"
        else:
            yield f"{said}; set evaluation.select=best_validation"


def _test(config: Config) -> Iterator[str]:
    data = config.dataset
    if data.test_fraction == 1:
        yield "dataset.test_fraction=1 leaves nothing to train on; set it below 1, for example 0.2"
    if data.test_fraction and "test_fraction" not in parameters(data._target_):
        yield f"dataset.test_fraction: dataset={data.name} has a test part of its own; set dataset.test_fraction=0"


def _lists(config: Config) -> Iterator[str]:
    if config.dataset.split_dir is None:
        return
    if config.split_seed < 1:
        yield f"split_seed={config.split_seed}: dataset.split_dir has the splits split1, split2, ...; set split_seed=1"
    for key in ("pool_per_class", "validation_fraction", "validation_per_class", "test_fraction", "probe_list"):
        if getattr(config.dataset, key):
            yield f"dataset.{key} and dataset.split_dir exclude each other: lists say which images there are; set one"


def _input_pool(config: Config) -> Iterator[str]:
    size, pool = config.dataset.image_size, config.backbone.get("input_pool", 1)
    if config.backbone["_target_"] == TIMM:
        if pool != 1:
            yield f"backbone.input_pool={pool}: networks of timm resize images; set backbone.input_size={size // pool}"
        return
    if size % pool or size // pool < 4:
        fitting = ", ".join(str(k) for k in range(1, size // 4 + 1) if size % k == 0)
        yield f"backbone.input_pool={pool} does not fit images of {size} pixels; backbone.input_pool= takes {fitting}"


def _pretrained(config: Config) -> Iterator[str]:
    backbone = config.backbone
    name, pretrained = backbone["name"], backbone.get("pretrained")
    if pretrained == "torchvision" and name.removesuffix(DILATED) not in TORCHVISION:
        yield (
            f"backbone.pretrained=torchvision: it has weights of {', '.join(TORCHVISION)}, not of {name}; set "
            "backbone.pretrained=FILE"
        )
    elif pretrained == "timm" and backbone["_target_"] != TIMM:
        yield (
            f"backbone.pretrained=timm: timm has weights of its own networks, and {backbone['_target_']} is none; set "
            "backbone.pretrained=FILE, or backbone=timm backbone.model=NAME"
        )
    elif pretrained not in (None, *PUBLISHED) and (why := refusal(located(pretrained))):
        yield f"backbone.pretrained={pretrained}: {why}; set backbone.pretrained=FILE"
    if pretrained is not None and config.method.get("default_weights"):
        yield (
            "method.default_weights=true would start the convolutions anew, over those of backbone.pretrained; set "
            "method.default_weights=false"
        )
    experts = config.method.get("experts")
    if pretrained is not None and experts is not None and not experts.get("copied"):
        yield (
            "method.experts start their stages anew, over those of backbone.pretrained; set "
            "method.experts.copied=true with method.experts.width=1"
        )
    if pretrained in (None, *PUBLISHED):
        for key in ("weights_prefix", "weights_partial"):
            if backbone.get(key):
                yield f"backbone.{key} is for a file of weights, and there is none; set backbone.pretrained=FILE"


def _optimizers(config: Config) -> Iterator[str]:
    for key in optimizers.NODES:
        values, training = node(config, key) or {}, key.removesuffix(".optimizer")
        target, betas = values.get("_target_"), values.get("betas", [])
        if why := optimizers.unsuitable(target):
            yield f"{key}._target_={target} {why}; set {key}.name=adamw, or another class"
        if any(beta >= 1 for beta in betas):
            yield f"{key}.betas={shown(betas)}: a beta is below 1; set {key}.betas=[0.9,0.999]"
        if values.get("nesterov") and not values.get("momentum"):
            yield f"{key}.nesterov=true is a kind of momentum, and there is none; set {key}.momentum=0.9"
        if values.get("nesterov") and values.get("dampening"):
            yield f"{key}.nesterov=true has no dampening; set {key}.dampening=0"
        if node(config, f"{training}.ema_decay") == 1:
            yield f"{training}.ema_decay=1 keeps the first weights for ever; set {training}.ema_decay=0.999"
    for name, usual in (("layer_decay", None), ("head_lr_factor", 1.0)):
        if node(config, f"stage_two.train.{name}") not in (None, usual):
            yield f"stage_two.train.{name}: stage two trains a head on a frozen encoder; set stage_two.train.lr"


def _schedules(config: Config) -> Iterator[str]:
    """Lengths that do not fit, or else what a schedule's own constructor refuses; ours alone are built here."""
    if problems := [*incompatible_epochs(config)]:
        yield from problems
        return
    for key in (f"{stage.training}.schedule" for stage in StageName):
        values = node(config, key) or {}
        if values.get("_target_", "").startswith(OUR_SCHEDULES):
            try:
                load(values["_target_"])(**{name: value for name, value in values.items() if name != "_target_"})
            except SettingError as error:
                yield f"{key}: {error}; set single values as {key}.KEY=VALUE"


def _steps(config: Config) -> Iterator[str]:
    """Micro-batches of a loss that is none of parts, and a rate that is scaled from nothing."""
    method, rule = config.method, config.stage_two
    stages = (
        (StageName.ONE.training, config.train, "method", method["name"], method["_target_"]),
        (StageName.TWO.training, rule.train, "stage_two", rule.name, rule._target_),
    )
    for key, training, owner, name, target in stages:
        if training is None:
            continue
        if training.lr_scaling != "none" and training.lr_base_batch is None:
            yield f"{key}.lr_scaling needs the batch size of the unscaled rate; set {key}.lr_base_batch=256"
        mean = class_attribute(target, "microbatches", False)
        if key == StageName.ONE.training:
            mean = mean and not any(method.get(name) for name in class_attribute(target, "microbatches_without", ()))
        if training.microbatch and not training.microbatch_anyway and mean is False:
            yield (
                f"{key}.microbatch={training.microbatch}: the loss of {owner}={name} is no mean over independent "
                f"images, so parts of a batch have another loss; set {key}.microbatch=null, or "
                f"{key}.microbatch_anyway=true to train on the loss of the parts"
            )
