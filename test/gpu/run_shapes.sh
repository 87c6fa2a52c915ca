#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_shapes.sh PROGRAM "T E K H"...: the program at each shape; its first failure, or its skip (77), is the result.
program=$1
shift
for shape in "$@"; do
  echo "$(basename "$program") $shape"
  # shellcheck disable=SC2086  # four arguments
  "$program" $shape || exit
done
