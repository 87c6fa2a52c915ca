// SPDX-License-Identifier: Apache-2.0
// Small dense algebra in double precision, for tests: solving, projectors in closed form, eigenvalues.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace dense {

using square = std::vector<double>;  // [n,n] row-major
using vector = std::vector<double>;

//! X with M X = B for B [n,m], by elimination with pivots.
inline std::vector<double> solved(square m, std::vector<double> b, std::size_t n) {
  const std::size_t cols = n == 0 ? 0 : b.size() / n;
  for (std::size_t k = 0; k < n; ++k) {
    std::size_t pivot = k;
    for (std::size_t r = k + 1; r < n; ++r)
      if (std::fabs(m[r * n + k]) > std::fabs(m[pivot * n + k])) pivot = r;
    for (std::size_t j = 0; j < n; ++j) std::swap(m[k * n + j], m[pivot * n + j]);
    for (std::size_t j = 0; j < cols; ++j) std::swap(b[k * cols + j], b[pivot * cols + j]);
    for (std::size_t r = 0; r < n; ++r) {
      if (r == k) continue;
      const double factor = m[r * n + k] / m[k * n + k];
      for (std::size_t j = 0; j < n; ++j) m[r * n + j] -= factor * m[k * n + j];
      for (std::size_t j = 0; j < cols; ++j) b[r * cols + j] -= factor * b[k * cols + j];
    }
  }
  for (std::size_t r = 0; r < n; ++r)
    for (std::size_t j = 0; j < cols; ++j) b[r * cols + j] /= m[r * n + r];
  return b;
}

//! I - A (A^T A + alpha I)^-1 A^T, the columns of A being the given rows.
inline square closed_form_projector(const std::vector<vector>& rows, std::size_t hidden, double alpha) {
  const std::size_t count = rows.size();
  square gram(count * count);
  std::vector<double> transposed;  // A^T [count, hidden]
  for (std::size_t a = 0; a < count; ++a) {
    for (std::size_t b = 0; b < count; ++b) {
      double sum = a == b ? alpha : 0.0;
      for (std::size_t j = 0; j < hidden; ++j) sum += rows[a][j] * rows[b][j];
      gram[a * count + b] = sum;
    }
    transposed.insert(transposed.end(), rows[a].begin(), rows[a].end());
  }
  const std::vector<double> inner = solved(gram, transposed, count);
  square p(hidden * hidden);
  for (std::size_t i = 0; i < hidden; ++i)
    for (std::size_t j = 0; j < hidden; ++j) {
      p[i * hidden + j] = i == j ? 1.0 : 0.0;
      for (std::size_t a = 0; a < count; ++a) p[i * hidden + j] -= rows[a][i] * inner[a * hidden + j];
    }
  return p;
}

//! Eigenvalues of a symmetric matrix, rising, by Jacobi's rotations.
inline vector eigenvalues(square m, std::size_t n) {
  for (int sweep = 0; sweep < 60; ++sweep)
    for (std::size_t p = 0; p < n; ++p)
      for (std::size_t q = p + 1; q < n; ++q) {
        const double angle = 0.5 * std::atan2(2 * m[p * n + q], m[q * n + q] - m[p * n + p]);
        const double c = std::cos(angle), s = std::sin(angle);
        for (std::size_t k = 0; k < n; ++k) {
          const double kp = m[k * n + p], kq = m[k * n + q];
          m[k * n + p] = c * kp - s * kq;
          m[k * n + q] = s * kp + c * kq;
        }
        for (std::size_t k = 0; k < n; ++k) {
          const double pk = m[p * n + k], qk = m[q * n + k];
          m[p * n + k] = c * pk - s * qk;
          m[q * n + k] = s * pk + c * qk;
        }
      }
  vector values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = m[i * n + i];
  std::sort(values.begin(), values.end());
  return values;
}

}  // namespace dense
