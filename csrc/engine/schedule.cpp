#include "schedule.h"

#include <cstring>
#include <numeric>

#include "threads/threads.h"

namespace tidegate {
namespace {

template <class Visit>
void for_each_token(const Schedule::Part& part, const Visit& visit) {
    for (std::size_t s = 0; s < part.start.size(); ++s)
        for (std::int64_t j = 0; j < part.count[s]; ++j) visit(part.start[s] + j);
}

void number_tokens(Schedule::Part& part, std::int64_t steps, std::int64_t first) {
    part.first_token = first;
    std::int64_t alive = static_cast<std::int64_t>(part.rows.size());
    for (std::int64_t s = 0; s < steps; ++s) {
        while (alive > 0 && part.lengths[alive - 1] <= s) --alive;
        if (alive == 0) break;
        part.start.push_back(first);
        part.count.push_back(alive);
        first += alive;
    }
}

Schedule rectangular(std::int64_t T, std::int64_t B, bool reverse, int parts, int sharers) {
    Schedule schedule;
    schedule.sharers = sharers;
    schedule.steps = T;
    schedule.batch = B;
    schedule.tokens = T * B;
    schedule.reverse = reverse;
    for (int p = 0; p < parts; ++p) {
        Schedule::Part part;
        const std::int64_t from = B * p / parts, to = B * (p + 1) / parts;
        part.first_token = from;
        for (std::int64_t b = from; b < to; ++b) part.rows.push_back(b);
        part.lengths.assign(part.rows.size(), T);
        if (from < to)
            for (std::int64_t s = 0; s < T; ++s) {
                part.start.push_back((reverse ? T - 1 - s : s) * B + from);
                part.count.push_back(to - from);
            }
        schedule.parts.push_back(std::move(part));
    }
    return schedule;
}

}  // namespace

void zero_padding(const Schedule& schedule, int share, int shares, std::int64_t width,
                  float* rows) {
    const std::int64_t B = schedule.batch;
    if (!schedule.ragged) return;
    for (std::int64_t t = share; t < schedule.steps; t += shares)
        for (std::int64_t b = 0; b < B; ++b)
            if (schedule.lengths[static_cast<std::size_t>(b)] <= t)
                std::memset(rows + (t * B + b) * width, 0,
                            sizeof(float) * static_cast<std::size_t>(width));
}

Schedule make_schedule(std::int64_t T, std::int64_t B, const std::int64_t* lengths, bool reverse,
                       int threads, bool by_units) {
    const int sharers = by_units ? std::max(threads, 1) : 1;
    const int parts =
        by_units
            ? 1
            : static_cast<int>(std::clamp<std::int64_t>(threads, 1, std::max<std::int64_t>(B, 1)));
    if (!lengths) return rectangular(T, B, reverse, parts, sharers);
    Schedule schedule;
    schedule.sharers = sharers;
    schedule.steps = T;
    schedule.batch = B;
    schedule.ragged = true;
    schedule.reverse = reverse;
    schedule.lengths.assign(lengths, lengths + B);
    std::vector<std::int64_t> order(static_cast<std::size_t>(B));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return lengths[a] > lengths[b]; });
    schedule.parts.resize(static_cast<std::size_t>(parts));
    // dealt like cards there and back, so that every part gets long and short rows alike
    for (std::int64_t i = 0; i < B; ++i) {
        const std::int64_t lap = i / parts, seat = i % parts;
        Schedule::Part& part = schedule.parts[lap % 2 ? parts - 1 - seat : seat];
        part.rows.push_back(order[i]);
        part.lengths.push_back(lengths[order[i]]);
    }
    schedule.index.resize(
        static_cast<std::size_t>(std::accumulate(lengths, lengths + B, std::int64_t{0})));
    for (Schedule::Part& part : schedule.parts) {
        number_tokens(part, T, schedule.tokens);
        for (std::size_t s = 0; s < part.start.size(); ++s) {
            const std::int64_t step = static_cast<std::int64_t>(s);
            std::int64_t* index = schedule.index.data() + schedule.tokens;
            for (std::int64_t j = 0; j < part.count[s]; ++j) {
                const std::int64_t t = reverse ? part.lengths[j] - 1 - step : step;
                index[j] = t * B + part.rows[j];
            }
            schedule.tokens += part.count[s];
        }
    }
    return schedule;
}

void gather(const Schedule& schedule, std::int64_t width, const float* rows, float* tokens) {
    const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(width);
    parallel_for(static_cast<int>(schedule.parts.size()), [&](int i) {
        for_each_token(schedule.parts[static_cast<std::size_t>(i)], [&](std::int64_t token) {
            std::memcpy(tokens + token * width, rows + schedule.place(token) * width, bytes);
        });
    });
}

void scatter(const Schedule& schedule, std::int64_t width, const float* tokens, float* rows) {
    const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(width);
    const int parts = static_cast<int>(schedule.parts.size());
    parallel_for(parts, [&](int i) {
        for (std::int64_t t = i; t < schedule.steps; t += parts)
            for (const Schedule::Part& part : schedule.parts)
                for (std::size_t j = 0; j < part.rows.size() && part.lengths[j] > t; ++j) {
                    const std::int64_t step = schedule.reverse ? part.lengths[j] - 1 - t : t;
                    const std::int64_t token =
                        part.start[static_cast<std::size_t>(step)] + static_cast<std::int64_t>(j);
                    std::memcpy(rows + (t * schedule.batch + part.rows[j]) * width,
                                tokens + token * width, bytes);
                }
        zero_padding(schedule, i, parts, width, rows);
    });
}

}  // namespace tidegate
