from absence.main import main

main()
