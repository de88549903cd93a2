# Seurat 4: the three strategies of the MultiVI paper (Ashuach et al. 2023, Methods) as calls of Seurat's functions.
#
# Usage: Rscript --vanilla seurat.R <folder of scripts> <folder of the exchange>
#
# Everything that is not in settings.tsv is Seurat's default. Where there are fewer cells or features than a default
# asks for, the number is lowered to what there is, and a note says so.

arguments <- commandArgs(trailingOnly = TRUE)
source(file.path(arguments[[1]], "exchange.R"))
folder <- arguments[[2]]

stage("loading Seurat")
suppressPackageStartupMessages({
  library(Matrix)
  library(Seurat)
})
# One process, one thread; warnings are summed up at the end (Seurat gives thousands where features are few).
options(warn = 0, nwarnings = 50, future.rng.onMisuse = "ignore", Seurat.checkdots = "ignore")
future::plan("sequential")

# The largest number not above `wanted` that `available` allows; noted where it is lower.
at_most <- function(wanted, available, what) {
  if (available < wanted) {
    note(folder, what, " lowered from ", wanted, " to ", available, ": too few cells or features")
  }
  max(1L, min(as.integer(wanted), as.integer(available)))
}

# Dimensions are no more than half the cells: with as many as cells, whitened components set all cells equally far
# apart, and nothing is left to be seen.
dimensions <- function(wanted, n_features, n_cells, what) {
  at_most(wanted, min(n_features - 1, n_cells %/% 2), what)
}

# Log-normalised or SCTransform, variable features, scaled, PCA. `counts`: features x cells.
expression_object <- function(counts, settings, n_components, sct = FALSE, features = NULL) {
  object <- CreateSeuratObject(counts, assay = "RNA")
  if (sct) {
    object <- SCTransform(object,
      assay = "RNA", variable.features.n = settings$n_variable_features, seed.use = settings$seed, verbose = FALSE
    )
  } else {
    object <- NormalizeData(object, verbose = FALSE)
    object <- FindVariableFeatures(object, nfeatures = settings$n_variable_features, verbose = FALSE)
    if (!is.null(features)) VariableFeatures(object) <- intersect(features, rownames(object))
    object <- ScaleData(object, features = VariableFeatures(object), verbose = FALSE)
  }
  if (n_components > 0) object <- with_pca(object, settings, n_components)
  object
}

with_pca <- function(object, settings, n_components, name = "pca") {
  assay <- DefaultAssay(object)
  n_features <- length(VariableFeatures(object))
  n_components <- dimensions(n_components, n_features, ncol(object), paste("components of", assay))
  # Seurat's approximate solver is meant for few of many components.
  approximate <- n_components < min(n_features, ncol(object)) / 2
  RunPCA(object,
    npcs = n_components, reduction.name = name, reduction.key = paste0(name, "_"), seed.use = settings$seed,
    approx = approximate, verbose = FALSE
  )
}

# Latent semantic indexing with the formulas that Signac's documentation gives: log(1 + 10^4 TF x IDF) of the counts,
# truncated SVD, every component scaled to mean 0 and standard deviation 1 over the cells. Cells x components; the
# first component follows depth.
latent_semantic_indexing <- function(counts, n_components, seed) {
  counts <- counts[rowSums(counts) > 0, , drop = FALSE]
  frequency <- t(t(counts) / pmax(colSums(counts), 1))
  weighted <- frequency * (ncol(counts) / rowSums(counts))
  weighted <- as(weighted, "CsparseMatrix")
  weighted@x <- log1p(weighted@x * 1e4)
  available <- min(dim(weighted)) - 1
  n_components <- dimensions(n_components, nrow(weighted), ncol(weighted), "components of LSI")
  set.seed(seed)
  right <- if (n_components < available / 2) {
    irlba::irlba(t(weighted), nv = n_components, work = min(3 * n_components, available + 1))$u
  } else {
    svd(as.matrix(t(weighted)), nu = n_components, nv = 0)$u
  }
  embedding <- scale(right)
  embedding[!is.finite(embedding)] <- 0
  dimnames(embedding) <- list(colnames(counts), paste0("LSI_", seq_len(ncol(embedding))))
  embedding
}

# Number of anchors' neighbours for weighting: distinct anchor cells of the smaller side bound it.
anchor_weighting <- function(anchors, wanted) {
  table <- as.data.frame(anchors)
  at_most(wanted, min(length(unique(table$cell1)), length(unique(table$cell2))), "k.weight")
}

# --------------------------------------------------------------------------------------------------------
# Gene activity and imputed expression
# --------------------------------------------------------------------------------------------------------

# Data sets by what the cells have: multi-omic (their RNA alone), RNA-only, ATAC-only (gene activity).
run_gene_level <- function(data, settings, imputed) {
  groups <- list(
    multiome = data$rna[, intersect(colnames(data$rna), colnames(data$atac)), drop = FALSE],
    rna = data$rna[, setdiff(colnames(data$rna), colnames(data$atac)), drop = FALSE],
    atac = data$activity
  )
  groups <- Filter(function(counts) !is.null(counts) && ncol(counts) > 0, groups)
  if (length(groups) == 1) {
    note(folder, "one kind of cells (", names(groups), "): nothing to integrate, the embedding is PCA of their genes")
    stage("PCA of ", names(groups))
    return(Embeddings(expression_object(groups[[1]], settings, settings$n_components), "pca"))
  }
  stage("normalising ", paste0(ncol_text(groups), collapse = ", "))
  objects <- lapply(groups, expression_object, settings = settings, n_components = settings$n_components)
  if (imputed && "atac" %in% names(objects)) objects$atac <- imputed_object(objects, data, settings)
  # The assays' names must agree; the data sets are merged, so the cells' names stay as they are.
  stage("FindIntegrationAnchors")
  smallest <- min(vapply(objects, ncol, 1L))
  features <- SelectIntegrationFeatures(objects, nfeatures = settings$n_variable_features, verbose = FALSE)
  dims <- dimensions(settings$n_anchor_dimensions, length(features), smallest, "dimensions of the anchors")
  anchors <- FindIntegrationAnchors(objects,
    anchor.features = features, dims = seq_len(dims), k.anchor = at_most(5, smallest - 1, "k.anchor"),
    k.score = at_most(30, smallest - 1, "k.score"), max.features = min(200, length(features)), verbose = FALSE
  )
  stage("IntegrateData with ", nrow(anchors@anchors), " anchors")
  integrated <- IntegrateData(anchors,
    dims = seq_len(dims), k.weight = integration_weighting(anchors@anchors, objects, 100), verbose = FALSE
  )
  DefaultAssay(integrated) <- "integrated"
  stage("PCA of the integrated cells")
  VariableFeatures(integrated) <- rownames(integrated)
  integrated <- ScaleData(integrated, verbose = FALSE)
  Embeddings(with_pca(integrated, settings, settings$n_components), "pca")
}

ncol_text <- function(groups) paste(vapply(groups, ncol, 1L), names(groups), "cells")

# IntegrateData weights by the anchor cells of the data set that is corrected, whichever that is in each merge:
# the fewest distinct anchor cells between a data set and all others bound k.weight.
integration_weighting <- function(anchors, objects, wanted) {
  distinct <- vapply(seq_along(objects), function(i) {
    length(unique(c(anchors$cell1[anchors$dataset1 == i], anchors$cell2[anchors$dataset2 == i])))
  }, 1L)
  at_most(wanted, min(distinct, vapply(objects, ncol, 1L) - 1L), "k.weight")
}

# Expression of the ATAC-only cells, imputed from the cells with RNA over anchors in gene activity (CCA), weighted by
# neighbours in the cells' own LSI, as in Seurat's tutorial on RNA and ATAC.
imputed_object <- function(objects, data, settings) {
  stage("FindTransferAnchors from RNA to gene activity (cca)")
  reference <- expression_object(data$rna, settings, 0)
  query <- objects$atac
  features <- intersect(VariableFeatures(reference), rownames(query))
  smallest <- min(ncol(reference), ncol(query))
  dims <- dimensions(30, length(features), smallest, "dimensions of the transfer anchors")
  anchors <- FindTransferAnchors(reference, query,
    features = features, reference.assay = "RNA", query.assay = "RNA", reduction = "cca", dims = seq_len(dims),
    k.anchor = at_most(5, smallest - 1, "k.anchor"), k.score = at_most(30, smallest - 1, "k.score"), max.features = min(200, length(features)), verbose = FALSE
  )
  stage("TransferData with ", nrow(anchors@anchors), " anchors")
  lsi <- latent_semantic_indexing(data$atac[, colnames(query), drop = FALSE], 30, settings$seed)
  query[["lsi"]] <- CreateDimReducObject(lsi, key = "LSI_", assay = "RNA")
  imputed <- TransferData(anchors,
    refdata = GetAssayData(reference, slot = "data")[VariableFeatures(reference), ],
    weight.reduction = query[["lsi"]], dims = seq(min(2, ncol(lsi)), ncol(lsi)),
    k.weight = anchor_weighting(anchors@anchors, 50), verbose = FALSE
  )
  object <- CreateSeuratObject(CreateAssayObject(data = GetAssayData(imputed, slot = "data")), assay = "RNA")
  VariableFeatures(object) <- rownames(object)
  with_pca(ScaleData(object, verbose = FALSE), settings, settings$n_components)
}

# --------------------------------------------------------------------------------------------------------
# Weighted nearest neighbours
# --------------------------------------------------------------------------------------------------------

# Cells with every modality give the graph and its supervised PCA; the others are mapped into it.
run_wnn <- function(data, settings) {
  modalities <- intersect(c("rna", "atac", "protein"), names(data))
  complete <- Reduce(intersect, lapply(data[modalities], colnames))
  sct <- settings$normalisation == "sctransform"
  stage(if (sct) "SCTransform" else "log-normalising", " and PCA of ", length(complete), " complete cells")
  reference <- expression_object(data$rna[, complete, drop = FALSE], settings, settings$n_components, sct = sct)
  assay <- DefaultAssay(reference)
  reductions <- list("pca")
  dims <- list(seq_len(ncol(reference[["pca"]])))
  if ("atac" %in% modalities) {
    stage("LSI of the chromatin")
    lsi <- latent_semantic_indexing(data$atac[, complete, drop = FALSE], settings$n_components, settings$seed)
    reference[["ATAC"]] <- CreateAssayObject(data$atac[, complete, drop = FALSE])
    reference[["lsi"]] <- CreateDimReducObject(lsi, key = "LSI_", assay = "ATAC")
    reductions <- c(reductions, "lsi")
    dims <- c(dims, list(seq(min(2, ncol(lsi)), ncol(lsi))))
  }
  if ("protein" %in% modalities) {
    stage("CLR and PCA of the proteins")
    reference[["ADT"]] <- protein_object(data$protein[, complete, drop = FALSE], settings)[["ADT"]]
    DefaultAssay(reference) <- "ADT"
    reference <- with_pca(reference, settings, settings$n_protein_components, "apca")
    reductions <- c(reductions, "apca")
    dims <- c(dims, list(seq_len(ncol(reference[["apca"]]))))
    DefaultAssay(reference) <- assay
  }
  stage("FindMultiModalNeighbors")
  # Seurat 4.3 stops ("'i' and 'j' must not contain NA") where all cells have equally many candidates, which is so when
  # every cell is a candidate of every other; hence no more than half the cells.
  candidates <- max(length(complete) %/% 2, min(settings$n_neighbors + 1, length(complete) - 1))
  reference <- FindMultiModalNeighbors(reference,
    reduction.list = reductions, dims.list = dims, k.nn = settings$n_neighbors,
    knn.range = at_most(200, candidates, "knn.range"), verbose = FALSE
  )
  stage("RunSPCA")
  reference <- supervised_pca(reference, assay, "spca", settings)
  embeddings <- list(Embeddings(reference, "spca"))

  rna_only <- setdiff(colnames(data$rna), complete)
  if (length(rna_only)) {
    query <- CreateSeuratObject(data$rna[, rna_only, drop = FALSE], assay = "RNA")
    embeddings$rna <- mapped_query(reference, query, assay, settings, "cells with RNA")
  }
  activity <- data$activity
  if (!is.null(activity)) {
    query <- CreateSeuratObject(activity, assay = "RNA")
    embeddings$atac <- mapped_query(reference, query, assay, settings, "gene activity")
  }
  rest <- setdiff(colnames(data$protein), c(complete, rna_only, colnames(activity)))
  if (length(rest)) {
    query <- protein_object(data$protein[, rest, drop = FALSE], settings)
    embeddings$protein <- mapped_proteins(reference, query, settings)
  }
  do.call(rbind, lapply(embeddings, unname_columns))
}

unname_columns <- function(embedding) {
  colnames(embedding) <- NULL
  embedding
}

protein_object <- function(counts, settings) {
  object <- CreateSeuratObject(counts, assay = "ADT")
  object <- NormalizeData(object, normalization.method = "CLR", margin = 2, verbose = FALSE)
  VariableFeatures(object) <- rownames(object)
  ScaleData(object, verbose = FALSE)
}

supervised_pca <- function(reference, assay, name, settings) {
  n_features <- length(VariableFeatures(reference[[assay]]))
  n_components <- dimensions(settings$n_supervised, n_features, ncol(reference), paste("supervised components of", assay))
  RunSPCA(reference,
    assay = assay, graph = "wsnn", npcs = n_components,
    reduction.name = name, reduction.key = paste0(name, "_"), seed.use = settings$seed, verbose = FALSE
  )
}

transfer_anchors <- function(reference, query, assay, query_assay, reduction) {
  smallest <- min(ncol(reference), ncol(query))
  FindTransferAnchors(reference, query,
    normalization.method = if (assay == "SCT") "SCT" else "LogNormalize", reference.assay = assay,
    query.assay = query_assay, reference.reduction = reduction, dims = seq_len(ncol(reference[[reduction]])),
    k.anchor = at_most(5, smallest - 1, "k.anchor"), k.score = at_most(30, smallest - 1, "k.score"), max.features = min(200, nrow(Loadings(reference[[reduction]]))),
    verbose = FALSE
  )
}

# Cells with expression, or gene activity, in the genes' supervised components of the reference.
mapped_query <- function(reference, query, assay, settings, what) {
  stage("FindTransferAnchors to ", ncol(query), " ", what, " (spca)")
  if (assay != "SCT") query <- NormalizeData(query, verbose = FALSE)
  anchors <- transfer_anchors(reference, query, assay, "RNA", "spca")
  stage("IntegrateEmbeddings of ", what, " with ", nrow(anchors@anchors), " anchors")
  query <- IntegrateEmbeddings(anchors,
    reference = reference, query = query, new.reduction.name = "mapped", reuse.weights.matrix = FALSE,
    k.weight = anchor_weighting(anchors@anchors, 100), verbose = FALSE
  )
  Embeddings(query, "mapped")
}

# Cells with proteins alone: anchors in the proteins' own supervised components of the same graph; the genes'
# supervised coordinates are then transferred over them, as there are no genes to be projected.
mapped_proteins <- function(reference, query, settings) {
  stage("FindTransferAnchors to ", ncol(query), " cells with proteins alone (spca of the proteins)")
  reference <- supervised_pca(reference, "ADT", "aspca", settings)
  DefaultAssay(reference) <- "ADT"
  anchors <- transfer_anchors(reference, query, "ADT", "ADT", "aspca")
  stage("TransferData of the supervised components with ", nrow(anchors@anchors), " anchors")
  coordinates <- t(Embeddings(reference, "spca"))
  transferred <- TransferData(anchors,
    refdata = coordinates, weight.reduction = "pcaproject", dims = seq_len(ncol(reference[["aspca"]])),
    k.weight = anchor_weighting(anchors@anchors, 50), verbose = FALSE
  )
  t(as.matrix(GetAssayData(transferred, slot = "data")))
}

# --------------------------------------------------------------------------------------------------------

guarded(folder, function() {
  settings <- read_settings(folder)
  for (name in setdiff(names(settings), c("strategy", "normalisation"))) settings[[name]] <- as.integer(settings[[name]])
  observations <- read_names(file.path(folder, "obs.tsv"))
  stage("reading")
  data <- list()
  for (modality in c("rna", "atac", "protein")) {
    if (file.exists(file.path(folder, paste0(modality, ".mtx")))) data[[modality]] <- read_counts(folder, modality, observations)
  }
  if (file.exists(file.path(folder, "activity.mtx"))) data$activity <- read_counts(folder, "activity", observations, "rna")
  set.seed(settings$seed)
  embedding <- switch(settings$strategy,
    gene_activity = run_gene_level(data, settings, FALSE),
    imputed = run_gene_level(data, settings, TRUE),
    wnn = run_wnn(data, settings),
    stop("unknown strategy ", settings$strategy)
  )
  write_embedding(folder, embedding, observations)
  write_versions(folder, c("Seurat", "SeuratObject", "sctransform", "Matrix", "irlba"))
  stage("done")
})
