-- What the terminal can do: its width, its colours, its characters.
-- Asked once a call, never remembered: output may be sent elsewhere in between.

local terminal = {}

--- Whether file descriptor `fd` (1: standard output) is a terminal.
function terminal.is_tty(fd)
  return require("luv").guess_handle(fd or 1) == "tty"
end

-- What the terminal says. Not by libuv: opening a terminal there makes it non-blocking, and output is lost.
local function asked()
  local in_rapt, host = pcall(require, "rapt.host")
  if in_rapt then return host.columns() end
  local pipe = io.popen("stty size 2>/dev/null </dev/tty")
  local answer = pipe and pipe:read("a") or ""
  if pipe then pipe:close() end
  return math.tointeger(tonumber(answer:match("^%d+ (%d+)")))
end

--- Columns of the terminal, or of COLUMNS, or 80.
function terminal.width()
  local given = math.tointeger(tonumber(os.getenv("COLUMNS")))
  if given and given >= 20 then return given end
  local columns = (terminal.is_tty(1) or terminal.is_tty(2)) and asked()
  return columns and columns >= 20 and columns or 80
end

--- Whether characters beyond ASCII can be shown.
function terminal.utf8()
  local locale = os.getenv("LC_ALL")
  if not locale or locale == "" then locale = os.getenv("LC_CTYPE") end
  if not locale or locale == "" then locale = os.getenv("LANG") end
  return locale ~= nil and locale:lower():find("utf%-?8") ~= nil
end

--- How many colours: "truecolor", "256", "16" or "none". NO_COLOR (https://no-color.org), TERM and COLORTERM
--- are heeded; what is no terminal gets none.
function terminal.colours(fd)
  local off = os.getenv("NO_COLOR")
  local term = os.getenv("TERM") or "dumb"
  if off and off ~= "" or term == "dumb" or not terminal.is_tty(fd or 1) then return "none" end
  local colorterm = os.getenv("COLORTERM") or ""
  if colorterm == "truecolor" or colorterm == "24bit" or term:find("direct", 1, true) then
    return "truecolor"
  end
  if term:find("256color", 1, true) then return "256" end
  return "16"
end

--- Text in a style ("1" bold, "2" faint, "31" red ...) where colours are to be had.
function terminal.style(text, code, colours)
  if colours == "none" then return text end
  return "\27[" .. code .. "m" .. text .. "\27[0m"
end

--- Columns that UTF-8 text takes, one a character.
function terminal.columns(text)
  return utf8.len(text) or #text
end

--- Text cut into lines of at most `width` columns, each begun with `indent`.
function terminal.wrap(text, width, indent)
  indent = indent or ""
  local lines, line = {}, nil
  for word in text:gmatch("%S+") do
    if not line then
      line = word
    elseif terminal.columns(line) + 1 + terminal.columns(word) + #indent <= width then
      line = line .. " " .. word
    else
      lines[#lines + 1] = indent .. line
      line = word
    end
  end
  lines[#lines + 1] = line and indent .. line
  return table.concat(lines, "\n")
end

return terminal
