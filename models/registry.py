"""The models by name. Adding one is a module and a line here; the contract tests then run on it unasked."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from benchmarks.errors import InputError, did_you_mean
from models.base import Declaration, IntegrationModel

_CLASSES = {
    "random": "models.controls:RandomEmbedding",
    "collapsed": "models.controls:CollapsedEmbedding",
    "oracle": "models.controls:OracleEmbedding",
    "pca": "models.pca:JointPCA",
    "wnn": "models.wnn:WeightedNearestNeighbours",
    "mofa": "models.mofa:MOFA",
    "multivi": "models.multivi:MultiVI",
    "multivi-native": "models.multivi_native:MultiVINative",
    "cobolt": "models.cobolt:Cobolt",
    "scmm": "models.scmm:ScMM",
    "scmvp": "models.scmvp:ScMVP",
    "multidgd": "models.multidgd:MultiDGD",
    "portal": "models.portal:Portal",
    "davae": "models.davae:DAVAE",
    "scalex": "models.scalex:SCALEX",
    "totalvi": "models.totalvi_scvi:TotalVI",
    "harmony": "models.harmony:HarmonyPCA",
    "cca": "models.cca:CanonicalCorrelation",
    "concatenated-pca": "models.concatenated_pca:ConcatenatedPCA",
    "rna-pca": "models.single_views:RNAPrincipalComponents",
    "atac-lsi": "models.single_views:ATACLatentSemanticIndexing",
    "protein-pca": "models.single_views:ProteinPrincipalComponents",
    "lda-atac": "models.topics:TopicModel",
    "lda-atac-rna-pca": "models.topics:TopicsAndRNA",
    "scai": "models.scai:ScAI",
    "knn-imputer": "models.imputers:KNNImputer",
    "random-forest-imputer": "models.forest_imputer:RandomForestImputer",
    "scvi": "models.scvi_single:SCVI",
    "peakvi": "models.scvi_single:PeakVI",
    "multivi-scarches": "models.multivi_scarches:MultiVIScArches",
    "liger": "models.liger:LIGER",
    "seurat-gene-activity": "models.seurat.strategies:SeuratGeneActivity",
    "seurat-imputed": "models.seurat.strategies:SeuratImputed",
    "seurat-wnn": "models.seurat.strategies:SeuratWNN",
    "portal-sc": "models.wrapped.portal_sc:PortalPackage",
    "scalex-package": "models.wrapped.scalex_package:SCALEXPackage",
    "scmomat": "models.wrapped.scmomat:ScMoMaT",
    "scglue": "models.wrapped.scglue:GLUE",
    "multigrate": "models.wrapped.multigrate:Multigrate",
    "scmidas": "models.wrapped.scmidas:MIDAS",
    "univi": "models.wrapped.univi:UniVI",
    "pamona": "models.wrapped.pamona:Pamona",
    "mowgli": "models.wrapped.mowgli:Mowgli",
    "uniport": "models.wrapped.uniport:UniPort",
    "unioncom": "models.wrapped.unioncom:UnionCom",
    "scbean-davae": "models.wrapped.scbean_davae:DAVAEPackage",
}


def names() -> list[str]:
    """Names of all models, in the order of the registry."""
    return list(_CLASSES)


@cache
def model_class(name: str) -> type[IntegrationModel]:
    """The class of the model called `name`.

    A third party's model needs no line in the registry: ``package.module:Class`` names any class on Python's path.

    Raises
    ------
    InputError
        If the name is unknown, or names something that is no :class:`IntegrationModel`.
    """
    target = name if ":" in name else _CLASSES.get(name)
    if target is None:
        raise InputError(f"unknown model {name!r}{did_you_mean(name, _CLASSES)}")
    module, _, attribute = target.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise InputError(f"unknown model {name!r}: no module {error.name!r} on Python's path") from error
        raise
    except AttributeError as error:
        raise InputError(f"unknown model {name!r}: {module} has no {attribute!r}") from error
    if not (isinstance(found, type) and issubclass(found, IntegrationModel)):
        raise InputError(f"model {name!r} is no subclass of models.base.IntegrationModel")
    return found


def declaration(name: str) -> Declaration:
    """The declaration of the model called `name`."""
    return model_class(name).declaration
