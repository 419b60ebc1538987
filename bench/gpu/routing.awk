# Routing of a model that is not here, as a table for `moxie profile import`: layer,expert, a row for each use.
#
#   awk -v tokens=1024 -v layers=32 -v experts=8 -v k=2 -f routing.awk
#
# Random weights choose experts evenly and without memory; text does not. Each layer has experts that it likes more, and
# likings that drift over some twenty tokens, so that recent experts come again. The two strengths are set so that a cache of
# Mixtral's shape that keeps half or more has within two points the hit rates of Mixtral-8x7B-Instruct on 585 recorded tokens of code and maths (docs/numbers.md); the
# recording itself may not be passed on. Only integers below 2^53 and plain functions: the same rows from every awk.
function uniform() {
    seed = (seed * 16807) % 2147483647
    return seed / 2147483647
}
function normal() {
    return uniform() + uniform() + uniform() + uniform() + uniform() + uniform() - 3 # spread 0.7
}
BEGIN {
    seed = seed > 0 ? seed : 1
    if (lasting == "") lasting = 0.27
    if (drifting == "") drifting = 1.05
    if (keep == "") keep = 0.95
    print "layer,expert"
    step = sqrt(1 - keep * keep)
    for (l = 0; l < layers; l++)
        for (e = 0; e < experts; e++) {
            base[l, e] = lasting * normal()
            drift[l, e] = normal()
        }
    for (t = 0; t < tokens; t++)
        for (l = 0; l < layers; l++) {
            sum = 0
            for (e = 0; e < experts; e++) {
                drift[l, e] = keep * drift[l, e] + step * normal()
                weight[e] = exp(base[l, e] + drifting * drift[l, e])
                sum += weight[e]
            }
            for (r = 0; r < k; r++) {
                at = uniform() * sum
                for (e = 0; e < experts - 1; e++) {
                    if (weight[e] > 0) {
                        last = e
                        at -= weight[e]
                        if (at < 0) break
                    }
                }
                if (weight[e] == 0) e = last
                sum -= weight[e]
                weight[e] = 0
                print l "," e
            }
        }
}
