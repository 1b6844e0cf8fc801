-- Colours: two perceptual maps, a palette for curves, and how a value finds its place on a map.
-- A colour is an integer 0xRRGGBB.

local colour = {}

local STEPS = 256

-- OKLab (B. Ottosson, "A perceptual color space for image processing", 2020): lightness L, and a colour
-- given by
-- chroma and hue. Distances in it follow what the eye sees, so a map whose L rises evenly shows even steps.
local function from_oklch(L, chroma, degrees)
  local hue = math.rad(degrees)
  local a, b = chroma * math.cos(hue), chroma * math.sin(hue)
  local l = (L + 0.3963377774 * a + 0.2158037573 * b) ^ 3
  local m = (L - 0.1055613458 * a - 0.0638541728 * b) ^ 3
  local s = (L - 0.0894841775 * a - 1.2914855480 * b) ^ 3
  local function byte(linear)
    local c = linear <= 0.0031308 and 12.92 * linear or 1.055 * linear ^ (1 / 2.4) - 0.055
    return math.floor(math.max(0, math.min(1, c)) * 255 + 0.5)
  end
  return byte(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s) << 16
    | byte(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s) << 8
    | byte(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s)
end

-- Dark violet, blue, green, yellow; lightness rises evenly.
local function sequential(x)
  local chroma = 0.085 + 0.09 * x - 0.03 * math.sin(math.pi * x)
  return from_oklch(0.22 + 0.70 * x, chroma, 305 - 195 * x)
end

-- Blue below the middle, white in it, red above; equally dark at both ends.
local function diverging(x)
  local away = math.abs(2 * x - 1)
  return from_oklch(0.97 - 0.50 * away, 0.175 * away ^ 0.85, x < 0.5 and 258 or 28)
end

local generators = { sequential = sequential, diverging = diverging }
local tables = {}

--- The map of that name as a table of 256 colours.
function colour.map(name)
  local generate = generators[name]
  if not generate then
    error(("viz: no colour map '%s': there are 'sequential' and 'diverging'"):format(tostring(name)), 0)
  end
  if not tables[name] then
    local map = {}
    for i = 1, STEPS do map[i] = generate((i - 1) / (STEPS - 1)) end
    tables[name] = map
  end
  return tables[name]
end

colour.missing = 0x8a8a8a -- of NaN

-- Told apart by people who do not see all colours (Okabe and Ito, "Color universal design").
colour.palette = { 0x0072b2, 0xd55e00, 0x009e73, 0xcc79a7, 0xe69f00, 0x56b4e9, 0x555555 }

--- A scale: {low, high, map, signed, place(v) -> 0..1, colour(v)}. Values on both sides of zero get the
-- diverging
--- map with zero in its middle; `options`: min, max, map, scale ("linear" or "sqrt").
function colour.scale(low, high, options)
  low, high = options.min or low, options.max or high
  local map = options.map or ((low < 0 and high > 0) and "diverging" or "sequential")
  local signed = map == "diverging"
  if signed and not (options.min and options.max) then
    local reach = math.max(math.abs(low), math.abs(high))
    low, high = -reach, reach
  end
  local kind = options.scale or "linear"
  if kind ~= "linear" and kind ~= "sqrt" then
    error(("viz: scale is '%s': expected 'linear' or 'sqrt'"):format(tostring(kind)), 0)
  end
  local scale = { low = low, high = high, signed = signed, table = colour.map(map), kind = kind }
  local width = high - low

  function scale.place(value)
    if value ~= value then return nil end
    if width <= 0 then return 0.5 end
    local x = math.max(0, math.min(1, (value - low) / width))
    if kind == "linear" then return x end
    if not signed then return x ^ 0.5 end
    local away = math.abs(2 * x - 1) ^ 0.5
    return x < 0.5 and 0.5 - 0.5 * away or 0.5 + 0.5 * away
  end

  function scale.colour(value)
    local x = scale.place(value)
    if not x then return colour.missing end
    return scale.table[math.floor(x * (STEPS - 1) + 0.5) + 1]
  end

  return scale
end

-- The nearest of the 6x6x6 cube and the greys of a 256-colour terminal.
local levels = { 0, 95, 135, 175, 215, 255 }
local nearest = {}

local function level_of(byte)
  local best = 1
  for i = 2, 6 do
    if math.abs(levels[i] - byte) < math.abs(levels[best] - byte) then best = i end
  end
  return best
end

--- The number of a colour on a terminal of 256 colours.
function colour.to_256(rgb)
  local known = nearest[rgb]
  if known then return known end
  local r, g, b = rgb >> 16, rgb >> 8 & 255, rgb & 255
  local i, j, k = level_of(r), level_of(g), level_of(b)
  local grey = math.max(0, math.min(23, ((r + g + b) // 3 - 3) // 10))
  local function distance(x, y, z) return (x - r) ^ 2 + (y - g) ^ 2 + (z - b) ^ 2 end
  local at_grey = 8 + 10 * grey
  local number = 16 + 36 * (i - 1) + 6 * (j - 1) + (k - 1)
  if distance(at_grey, at_grey, at_grey) < distance(levels[i], levels[j],
    levels[k]) then number = 232 + grey end
  nearest[rgb] = number
  return number
end

--- The escape sequence that sets the foreground (or background) on a terminal of 256 or all colours.
function colour.escape(rgb, colours, background)
  local layer = background and 48 or 38
  if colours == "truecolor" then
    return ("\27[%d;2;%d;%d;%dm"):format(layer, rgb >> 16, rgb >> 8 & 255, rgb & 255)
  end
  return ("\27[%d;5;%dm"):format(layer, colour.to_256(rgb))
end

return colour
