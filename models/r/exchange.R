# Files between Python and R, shared by every R model (Python's side: models/seurat/exchange.py).
#
# Into R: <modality>.mtx (features x cells, matrix-market), <modality>_features.tsv, <modality>_cells.tsv, obs.tsv
# and settings.tsv. Out of R: embedding.csv (cell name first), versions.tsv, notes.txt, and error.txt if it stopped.
#
# Inside R, cells are c1, c2, ... by their place in obs.tsv, and features are g1, g2, ... (genes), r1, ... (regions)
# and p1, ... (proteins): Seurat rewrites some characters of names, and names that differ could then become equal.

read_names <- function(path) {
  read.delim(path,
    quote = "\"", comment.char = "", check.names = FALSE, colClasses = "character",
    na.strings = character(0), encoding = "UTF-8"
  )
}

read_settings <- function(folder) {
  table <- read_names(file.path(folder, "settings.tsv"))
  as.list(setNames(table$value, table$name))
}

# Sparse matrix, features x cells, with internal names. `genes_of` names the modality whose features these are.
read_counts <- function(folder, modality, observations, genes_of = modality) {
  matrix <- as(Matrix::readMM(file.path(folder, paste0(modality, ".mtx"))), "CsparseMatrix")
  features <- read_names(file.path(folder, paste0(modality, "_features.tsv")))$feature
  cells <- read_names(file.path(folder, paste0(modality, "_cells.tsv")))$cell
  known <- read_names(file.path(folder, paste0(genes_of, "_features.tsv")))$feature
  letter <- c(rna = "g", atac = "r", protein = "p")[[genes_of]]
  places <- list(match(features, known), match(cells, observations$cell))
  if (anyNA(unlist(places)) || !identical(dim(matrix), lengths(places))) {
    stop(modality, ": features or cells do not agree with ", genes_of, "_features.tsv and obs.tsv")
  }
  dimnames(matrix) <- list(paste0(letter, places[[1]]), paste0("c", places[[2]]))
  matrix
}

# `embedding`: cells x dimensions, rows named c1, c2, ... in any order, every cell once.
write_embedding <- function(folder, embedding, observations) {
  wanted <- paste0("c", seq_len(nrow(observations)))
  if (!setequal(rownames(embedding), wanted) || nrow(embedding) != length(wanted)) {
    stop("the embedding has ", nrow(embedding), " cells, the design ", length(wanted))
  }
  embedding <- embedding[wanted, , drop = FALSE]
  table <- data.frame(cell = observations$cell, unname(embedding), check.names = FALSE)
  names(table) <- c("cell", seq_len(ncol(embedding)))
  write.table(table, file.path(folder, "embedding.csv"),
    sep = ",", row.names = FALSE, qmethod = "double", fileEncoding = "UTF-8"
  )
}

write_versions <- function(folder, packages) {
  versions <- vapply(packages, function(name) as.character(utils::packageVersion(name)), "")
  table <- data.frame(name = c("R", packages), version = c(as.character(getRversion()), versions))
  write.table(table, file.path(folder, "versions.tsv"), sep = "\t", row.names = FALSE, quote = FALSE)
}

# A line for the log: what begins now, and how long it has taken to get here.
stage <- function(...) {
  message(sprintf("R %6.1f s  %s", proc.time()[["elapsed"]] - stages$started, paste0(...)))
  stages$current <- paste0(...)
}
stages <- new.env()
stages$started <- proc.time()[["elapsed"]]
stages$current <- "start"

# A line for the run record's warnings.
note <- function(folder, ...) {
  message("note: ", ...)
  cat(paste0(...), "\n", file = file.path(folder, "notes.txt"), append = TRUE, sep = "")
}

# Run `body`; an error becomes error.txt (stage, message) and exit status 3.
guarded <- function(folder, body) {
  tryCatch(body(), error = function(error) {
    text <- paste0(stages$current, ": ", conditionMessage(error))
    writeLines(gsub("[[:space:]]+", " ", text), file.path(folder, "error.txt"))
    message("stopped in ", text)
    quit(status = 3, save = "no")
  })
}
