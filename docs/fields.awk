# SPDX-License-Identifier: Apache-2.0
# Doxygen input filter: from the first labelled field of a `//!` comment to the comment's end, text is verbatim.
function is_comment(line) { return line ~ /^[ \t]*\/\/!/ && line !~ /\/\/!</ }
function is_field(line) {
  return line ~ /^[ \t]*\/\/! (Equation|Threads|Inputs|Outputs|Contract|Errors|Resources|Cost|Example)  /
}
{
  if (verbatim && !is_comment($0)) {
    print "//! \\endverbatim"
    verbatim = 0
  }
  if (!verbatim && is_field($0)) {
    print "//! \\verbatim"
    verbatim = 1
  }
  print
}
END {
  if (verbatim) print "//! \\endverbatim"
}
