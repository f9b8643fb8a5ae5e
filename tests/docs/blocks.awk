# Takes the fenced blocks out of a Markdown page: one line for each, and its text as a file of its own in `folder`.
# A line has the number of the block's first line, its language, the rest of what stands behind the fence, and the file.
!inside && /^```/ {
    inside = 1
    words = substr($0, 4)
    language = words
    sub(/ .*/, "", language)
    rest = substr(words, length(language) + 2)
    file = sprintf("%s/%03d", folder, ++count)
    printf "" >file
    printf "%d\t%s\t%s\t%s\n", NR, language == "" ? "-" : language, rest == "" ? "-" : rest, file
    next
}
inside && /^```[ \t]*$/ {
    inside = 0
    close(file)
    next
}
inside { print >file }
END {
    if (inside) {
        print FILENAME ": a block does not end" >"/dev/stderr"
        exit 1
    }
}
