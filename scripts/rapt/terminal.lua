-- What the terminal can do: its width, its colours, its characters.
-- Asked once a call, never remembered: output may be sent elsewhere in between.

local uv = require "luv"

local terminal = {}

--- Whether file descriptor `fd` (1: standard output) is a terminal.
function terminal.is_tty(fd)
  return uv.guess_handle(fd or 1) == "tty"
end

--- Columns of the terminal, or of COLUMNS, or 80.
function terminal.width()
  local given = math.tointeger(tonumber(os.getenv("COLUMNS")))
  if given and given >= 20 then return given end
  for fd = 1, 2 do
    if terminal.is_tty(fd) then
      local tty = uv.new_tty(fd, false)
      local columns = tty and tty:get_winsize()
      if tty then tty:close() end
      -- Closing is finished by the loop; nothing else is in it.
      uv.run("nowait")
      if columns and columns >= 20 then return columns end
    end
  end
  return 80
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
