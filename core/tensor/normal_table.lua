-- Writes normal_table.h: the coefficients by which random.c inverts the normal distribution.
-- Run as  lua5.4 normal_table.lua > normal_table.h
--
-- For p in (0, 1/2] let z(p) be the number with P(Z > z) = p, Z standard normal. random.c needs z at
-- p = P / 2^33, P odd in [1, 2^32). Octave e holds the P with e leading zeros in 32 bits, and is cut
-- into 16 equal segments. On each, z = c0 - t (c1 - t (c2 - t c3)) with t in [0, 1), through the four
-- Chebyshev points, and coefficients in units of 2^-29.

local OCTAVES, SEGMENTS, UNIT = 32, 16, 2.0 ^ 29

-- P(Z > z) / density(z) for z >= 0: the Taylor series of the distribution function where z is small,
-- otherwise Laplace's continued fraction.
local function mills(z)
    if z > 3 then
        local f = 0.0
        for k = 400, 1, -1 do
            f = k / (z + f)
        end
        return 1 / (z + f)
    end
    local term, sum, k = z, z, 1
    while math.abs(term) > 1e-18 * sum do
        k = k + 2
        term = term * z * z / k
        sum = sum + term
    end
    return math.sqrt(math.pi / 2) * math.exp(z * z / 2) - sum
end

local function density(z)
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
end

-- Halley's method on log P(Z > z) = log p, from a bound above z.
local function inverse(p)
    local z = math.sqrt(-2 * math.log(2 * p))
    for _ = 1, 50 do
        local m = mills(z)
        local f = math.log(m * density(z)) - math.log(p)
        local slope = -1 / m
        local curve = (z * m - 1) / (m * m)
        local step = f / (slope - f * curve / (2 * slope))
        z = math.max(z - step, 0)
        if math.abs(step) < 1e-15 then
            break
        end
    end
    return z
end

-- Coefficients of the cubic through (x[i], y[i]), lowest power first.
local function cubic(x, y)
    local d = { table.unpack(y) }
    for order = 1, 3 do
        for i = 4, order + 1, -1 do
            d[i] = (d[i] - d[i - 1]) / (x[i] - x[i - order])
        end
    end
    local c = { d[4], 0, 0, 0 }
    for i = 3, 1, -1 do
        for k = 4, 2, -1 do
            c[k] = c[k - 1] - x[i] * c[k]
        end
        c[1] = d[i] - x[i] * c[1]
    end
    return c
end

local nodes = {}
for i = 1, 4 do
    nodes[i] = 0.5 - 0.5 * math.cos((2 * i - 1) * math.pi / 8)
end

local function segment(octave, index)
    local low = 2.0 ^ -(octave + 2) * (1 + index / SEGMENTS)
    local width = 2.0 ^ -(octave + 2) / SEGMENTS
    local y = {}
    for i, t in ipairs(nodes) do
        y[i] = inverse(low + t * width)
    end
    local c = cubic(nodes, y)
    local words = {}
    for k = 1, 4 do
        local value = (k % 2 == 1 and 1 or -1) * c[k] * UNIT
        words[k] = string.format("%du", math.max(0, math.floor(value + 0.5)))
    end
    return "    {" .. table.concat(words, ", ") .. "},"
end

print("/* Written by normal_table.lua, which says what the numbers are. */")
print("/* clang-format off */")
print(string.format("static const uint32_t normal_table[%d][4] = {", OCTAVES * SEGMENTS))
for octave = 0, OCTAVES - 1 do
    for index = 0, SEGMENTS - 1 do
        print(segment(octave, index))
    end
end
print("};")
print("/* clang-format on */")
