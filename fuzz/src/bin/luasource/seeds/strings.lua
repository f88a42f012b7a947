

x = "a\z 
 }\
" .. [==[ ]] } ]==] --[[ } ]] goto l ::l:: f{...} return function(...) end