// Where the tokens of a batch stand and which thread runs them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tidegate {

// Rectangular batch (no lengths): token (t, b) is t * B + b, the layout of [T, B, ...] itself.
// Ragged: the tokens are packed part after part, within a part step after step, within a step the
// rows that are still alive; index[token] = t * B + b says where each comes from.
struct Schedule {
    struct Part {
        std::vector<std::int64_t> rows;     // b of each row, longest first
        std::vector<std::int64_t> lengths;  // of these rows
        std::vector<std::int64_t> start, count;
        std::int64_t first_token;
    };
    std::int64_t steps = 0, batch = 0, tokens = 0;
    std::vector<Part> parts;            // of the rows, each one thread's; or a single one,
    int sharers = 1;                    // whose units so many threads share
    std::vector<std::int64_t> index;    // empty if rectangular
    std::vector<std::int64_t> lengths;  // [B], empty if rectangular
    bool ragged = false, reverse = false;

    int threads() const { return std::max(static_cast<int>(parts.size()), sharers); }

    // Of a token in [T, B].
    std::int64_t place(std::int64_t token) const {
        return ragged ? index[static_cast<std::size_t>(token)] : token;
    }
};

// lengths: [B], each in 0 .. T, or null; threads >= 1 take rows each, or with `by_units` all rows,
// each some of the units.
Schedule make_schedule(std::int64_t T, std::int64_t B, const std::int64_t* lengths, bool reverse,
                       int threads, bool by_units);

// rows [T, B, width] = 0 from each one's length on; share `share` of `shares`, which takes whole
// steps: threads that write neighbouring rows at a time take the cache lines from each other.
void zero_padding(const Schedule& schedule, int share, int shares, std::int64_t width, float* rows);

// tokens [N, width] = the true steps of rows [T, B, width], and back, zeros beyond each length.
void gather(const Schedule& schedule, std::int64_t width, const float* rows, float* tokens);
void scatter(const Schedule& schedule, std::int64_t width, const float* tokens, float* rows);

}  // namespace tidegate
