"""Features, rankings and their scores; pseudo labels against the truth; choosing a model without labels."""

from unreid.evaluation.baselines import raw_pixel_features, striped_histogram_features
from unreid.evaluation.diagnostics import cluster_report
from unreid.evaluation.distance import DistanceBlocks, DistanceModifier, pairwise_distance
from unreid.evaluation.evaluator import Evaluator, RerankSettings, format_table
from unreid.evaluation.extract import extract_features
from unreid.evaluation.feature_extractor import FeatureExtractor
from unreid.evaluation.metrics import RankingResult, cmc_map
from unreid.evaluation.ranked_list import cluster_sheet, draw_ranked_list
from unreid.evaluation.rerank import rerank_features
from unreid.evaluation.selection import label_free_score, simplified_silhouette, stability

__all__ = [
    "DistanceBlocks",
    "DistanceModifier",
    "Evaluator",
    "FeatureExtractor",
    "RankingResult",
    "RerankSettings",
    "cluster_report",
    "cluster_sheet",
    "cmc_map",
    "draw_ranked_list",
    "extract_features",
    "format_table",
    "label_free_score",
    "pairwise_distance",
    "raw_pixel_features",
    "rerank_features",
    "simplified_silhouette",
    "stability",
    "striped_histogram_features",
]
