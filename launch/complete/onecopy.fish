# Completion of onecopy for fish: in a folder of $fish_complete_path. launch/complete.bash knows the words.
function __onecopy_complete
    set -l words (commandline -opc)
    set -l rows ($words[1] --complete $words[2..-1] (commandline -ct) 2>/dev/null)
    if contains -- :files $rows
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $rows
    end
end
complete -c onecopy -f -a '(__onecopy_complete)'
