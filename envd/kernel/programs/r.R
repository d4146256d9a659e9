# SPDX-License-Identifier: Apache-2.0
# The R kernel: cells are evaluated in the global environment; every visible value is a result, the
# last one the cell's own. Frames are "<letter> <length>\n<bytes>" (envd/kernel/kernel_message.h).
# R opens no socket by its number, so whoever starts this text relays the channel by two named pipes
# in a directory, the only argument. What R prints goes to descriptors 1 and 2 as ever. Plots are
# drawn to files, shown at the cell's end.

local({
    place <- commandArgs(TRUE)[1]
    orders <- file(file.path(place, "orders"), "rb")
    news <- file(file.path(place, "news"), "wb")
    unlink(place, recursive = TRUE)
    plots <- tempfile("plots")
    old <- list() # of the environment, while a cell has other values

    put <- function(kind, body = raw()) {
        writeBin(c(charToRaw(sprintf("F 0\n%s %d\n", kind, length(body))), body), news)
        flush(news)
    }

    # A text as JSON in ASCII.
    quoted <- function(text) {
        codes <- utf8ToInt(enc2utf8(paste(text, collapse = "\n")))
        codes <- if (anyNA(codes)) 0xFFFD else utf8ToInt(intToUtf8(codes))
        out <- intToUtf8(codes, multiple = TRUE)
        wide <- codes > 0xFFFF
        other <- codes < 0x20 | codes > 0x7E | codes == 0x22 | codes == 0x5C
        high <- 0xD800 + (codes - 0x10000) %/% 0x400
        low <- 0xDC00 + (codes - 0x10000) %% 0x400
        out[other] <- sprintf("\\u%04x", as.integer(codes[other]))
        out[wide] <- sprintf("\\u%04x\\u%04x", as.integer(high[wide]), as.integer(low[wide]))
        paste0("\"", paste(out, collapse = ""), "\"")
    }

    base64 <- function(bytes) {
        letters64 <- c(LETTERS, letters, 0:9, "+", "/")
        missing <- (3 - length(bytes) %% 3) %% 3
        parts <- matrix(as.integer(c(bytes, raw(missing))), nrow = 3)
        bits <- parts[1, ] * 65536 + parts[2, ] * 256 + parts[3, ]
        digits <- rbind(bits %/% 262144, bits %/% 4096 %% 64, bits %/% 64 %% 64, bits %% 64)
        out <- letters64[digits + 1]
        if (missing > 0) out[length(out) - seq_len(missing) + 1] <- "="
        paste(out, collapse = "")
    }

    put_result <- function(field, text, is_main) {
        put("P", charToRaw(sprintf("{\"is_main_result\":%s,\"%s\":%s,\"extra\":{}}",
                                   if (is_main) "true" else "false", field, quoted(text))))
    }

    put_error <- function(name, value, traceback) {
        put("X", charToRaw(sprintf("{\"name\":%s,\"value\":%s,\"traceback\":%s}",
                                   quoted(name), quoted(value), quoted(traceback))))
    }

    show_plots <- function() {
        graphics.off()
        for (name in list.files(plots, full.names = TRUE)) {
            put_result("png", base64(readBin(name, "raw", file.size(name))), FALSE)
        }
        unlink(plots, recursive = TRUE)
    }

    evaluate <- function(code) {
        cell <- parse(text = code, keep.source = TRUE, encoding = "UTF-8")
        for (i in seq_along(cell)) {
            value <- withVisible(eval(cell[[i]], globalenv()))
            if (value$visible) {
                text <- capture.output(if (isS4(value$value)) methods::show(value$value)
                                       else print(value$value))
                put_result("text", text, i == length(cell))
            }
        }
    }

    run <- function(code) {
        tryCatch(evaluate(code), error = function(e) {
            call <- conditionCall(e)
            is_own <- is.null(call) || identical(call, quote(eval(cell[[i]], globalenv())))
            where <- if (is_own) "Error" else paste("Error in", deparse(call)[1])
            put_error(class(e)[1], conditionMessage(e), paste0(where, ": ", conditionMessage(e)))
        }, interrupt = function(e) put_error("KeyboardInterrupt", "", "interrupted"))
        while (sink.number() > 0) sink()
        tryCatch(show_plots(), error = function(e) message("plot: ", conditionMessage(e)))
        for (name in names(old)) {
            if (is.na(old[[name]])) Sys.unsetenv(name)
            else do.call(Sys.setenv, old[name])
        }
        old <<- list()
        put("D")
    }

    set_variables <- function(body, is_for_cell) {
        ends <- which(body == 0)
        starts <- c(1, head(ends, -1) + 1)
        for (i in seq_along(ends)) {
            pair <- rawToChar(body[seq_len(ends[i] - starts[i]) + starts[i] - 1])
            at <- regexpr("=", pair, fixed = TRUE)
            name <- substr(pair, 1, at - 1)
            if (is_for_cell) old[[name]] <<- Sys.getenv(name, NA)
            do.call(Sys.setenv, setNames(list(substring(pair, at + 1)), name))
        }
    }

    read_order <- function() {
        head <- character()
        while ((one <- readChar(orders, 1, useBytes = TRUE)) != "\n") head <- c(head, one)
        size <- as.integer(paste(head[-(1:2)], collapse = ""))
        body <- raw()
        while (length(body) < size) body <- c(body, readBin(orders, "raw", size - length(body)))
        list(kind = head[1], body = body)
    }

    if (!l10n_info()[["UTF-8"]]) Sys.setlocale("LC_CTYPE", "C.UTF-8")
    options(warn = 1, device = function(...) {
        dir.create(plots, showWarnings = FALSE)
        grDevices::png(file.path(plots, "%03d.png"), width = 800, height = 600)
    })
    put("R")
    repeat {
        # An interrupt between cells has nothing to end.
        order <- tryCatch(read_order(), interrupt = function(e) NULL)
        if (is.null(order)) next
        switch(order$kind,
            X = { text <- rawToChar(order$body); Encoding(text) <- "UTF-8"; run(text) },
            G = set_variables(order$body, FALSE),
            V = set_variables(order$body, TRUE),
            D = setwd(rawToChar(order$body)))
    }
})
