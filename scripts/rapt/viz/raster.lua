-- A canvas of pixels that becomes a PNG file. Same methods as rapt.viz.svg. Everything is drawn at `SCALE`
-- pixels
-- a unit, so that text and curves are sharp on dense screens.

local font = require "rapt.viz.font"

local SCALE = 2

local raster = {}
raster.__index = raster

function raster.new(width, height)
  local w, h = math.ceil(width) * SCALE, math.ceil(height) * SCALE
  local pixels = {}
  for i = 1, w * h do pixels[i] = 0xffffff end
  return setmetatable({ width = width, height = height, w = w, h = h, pixels = pixels }, raster)
end

-- Fills pixels of the raster itself, cut to its edges; the right and lower bounds are not included.
local function fill(self, x0, y0, x1, y1, rgb)
  x0, y0, x1, y1 = math.max(x0, 0), math.max(y0, 0), math.min(x1, self.w), math.min(y1, self.h)
  local pixels, w = self.pixels, self.w
  for y = y0, y1 - 1 do
    for i = y * w + x0 + 1, y * w + x1 do pixels[i] = rgb end
  end
end

local function scaled(x) return math.floor(x * SCALE + 0.5) end

function raster:rect(x, y, width, height, rgb)
  fill(self, scaled(x), scaled(y), scaled(x + width), scaled(y + height), rgb)
end

function raster:frame(x, y, width, height, rgb)
  local x0, y0, x1, y1 = scaled(x), scaled(y), scaled(x + width), scaled(y + height)
  fill(self, x0, y0, x1, y0 + SCALE, rgb)
  fill(self, x0, y1 - SCALE, x1, y1, rgb)
  fill(self, x0, y0, x0 + SCALE, y1, rgb)
  fill(self, x1 - SCALE, y0, x1, y1, rgb)
end

-- The characters of UTF-8 text; of other text, its bytes.
local function characters(text)
  local list = {}
  local pattern = utf8.len(text) and utf8.charpattern or "."
  for character in text:gmatch(pattern) do list[#list + 1] = character end
  return list
end

function raster:text(x, y, text, options)
  local list = characters(text)
  local dot = math.max(1, math.floor((options.size or 12) * SCALE / 10 + 0.5))
  local length = (#list * font.advance - 1) * dot
  local shift = ({ start = 0, middle = length // 2, ["end"] = length })[options.anchor or "start"]
  local rgb = options.colour or 0x222222
  local x0, y0 = scaled(x), scaled(y)
  for i, character in ipairs(list) do
    local glyph = font.glyph(character)
    for row = 1, font.height do
      for column = 0, font.width - 1 do
        if glyph[row] >> (font.width - 1 - column) & 1 == 1 then
          local along = ((i - 1) * font.advance + column) * dot - shift
          local across = (row - 1 - font.ascent) * dot
          if options.vertical then
            fill(self, x0 + across, y0 - along - dot, x0 + across + dot, y0 - along, rgb)
          else
            fill(self, x0 + along, y0 + across, x0 + along + dot, y0 + across + dot, rgb)
          end
        end
      end
    end
  end
end

local function blend(under, over, share)
  local function channel(shift)
    local a, b = under >> shift & 255, over >> shift & 255
    return math.floor(a + (b - a) * share + 0.5) << shift
  end
  return channel(16) | channel(8) | channel(0)
end

-- Covers each pixel near the segment by its distance to it.
local function segment(self, x0, y0, x1, y1, rgb, half)
  local dx, dy = x1 - x0, y1 - y0
  local squared = dx * dx + dy * dy
  local pixels, w = self.pixels, self.w
  local left = math.max(0, math.floor(math.min(x0, x1) - half - 1))
  local right = math.min(w - 1, math.ceil(math.max(x0, x1) + half + 1))
  local top = math.max(0, math.floor(math.min(y0, y1) - half - 1))
  local bottom = math.min(self.h - 1, math.ceil(math.max(y0, y1) + half + 1))
  for y = top, bottom do
    for x = left, right do
      local px, py = x + 0.5 - x0, y + 0.5 - y0
      local t = squared > 0 and math.max(0, math.min(1, (px * dx + py * dy) / squared)) or 0
      local ex, ey = px - t * dx, py - t * dy
      local cover = half + 0.5 - math.sqrt(ex * ex + ey * ey)
      if cover > 0 then
        local i = y * w + x + 1
        pixels[i] = blend(pixels[i], rgb, math.min(1, cover))
      end
    end
  end
end

function raster:polyline(points, rgb, width)
  local half = (width or 1) * SCALE / 2
  for i = 1, #points - 3, 2 do
    segment(self, points[i] * SCALE, points[i + 1] * SCALE, points[i + 2] * SCALE, points[i + 3] * SCALE,
      rgb, half)
  end
end

function raster:cells(x, y, width, height, rows, columns, colour_at)
  for r = 1, rows do
    local y0, y1 = scaled(y + (r - 1) * height / rows), scaled(y + r * height / rows)
    for c = 1, columns do
      fill(self, scaled(x + (c - 1) * width / columns), y0, scaled(x + c * width / columns), y1,
        colour_at(r, c))
    end
  end
end

function raster:bytes(title)
  local names, out = {}, {}
  for i, rgb in ipairs(self.pixels) do
    local name = names[rgb]
    if not name then
      name = string.char(rgb >> 16, rgb >> 8 & 255, rgb & 255)
      names[rgb] = name
    end
    out[i] = name
  end
  local texts = { Software = "rapt" }
  if title and title ~= "" then texts.Title = title end
  return require("rapt.png").encode(self.w, self.h, table.concat(out), texts)
end

return raster
